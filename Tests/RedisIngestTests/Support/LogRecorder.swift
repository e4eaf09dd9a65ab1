import Logging
import Synchronization

/// Keeps the lines of a logger.
final class LogRecorder: Sendable {
    private struct Handler: LogHandler {
        let recorder: LogRecorder
        var metadata = Logger.Metadata()
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            recorder.add("\(event.message) \(fields.joined(separator: " "))")
        }
    }

    private let kept = Mutex<[String]>([])

    var lines: [String] { kept.withLock { $0 } }
    var logger: Logger { Logger(label: "test") { _ in Handler(recorder: self) } }

    func count(_ part: String) -> Int { lines.count { $0.contains(part) } }

    private func add(_ line: String) { kept.withLock { $0.append(line) } }
}
