import Logging
import Synchronization

/// Keeps the lines that are logged.
final class RecordedLog: Sendable {
    private let lines = Mutex<[String]>([])

    /// The messages, without their metadata.
    var messages: [String] { lines.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(log: self) } }

    private struct Handler: LogHandler {
        let log: RecordedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let message = "\(event.message)"
            log.lines.withLock { $0.append(message) }
        }
    }
}
