import Logging
import NIOCore
import SidecarCore
import SidecarServer

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Writes each log record as one line with one `write`, so that lines of different threads don't mix.
///
/// What a client sent may stand in any value, so every value is escaped and cut: no record can forge another one, drive
/// a terminal, or fill a disk.
struct LineLogHandler: LogHandler {
    /// How a line looks.
    enum Format: String, Sendable {
        /// One JSON object: `time`, `level`, `message`, then the metadata.
        case json
        /// Time, level and message, then the metadata as `key=value`.
        case text
    }

    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    private let format: Format
    private let now: @Sendable () -> Int64
    private let write: @Sendable ([UInt8]) -> Void

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - now: the time of a record, in milliseconds since 1970.
    ///   - write: takes one complete line, line feed included.
    init(
        level: Logger.Level,
        format: Format = .json,
        metadataProvider: Logger.MetadataProvider? = nil,
        now: @escaping @Sendable () -> Int64 = { WallClock.unixMilliseconds() },
        write: @escaping @Sendable ([UInt8]) -> Void = { LineLogHandler.writeToStandardError($0) }
    ) {
        self.logLevel = level
        self.format = format
        self.metadataProvider = metadataProvider
        self.now = now
        self.write = write
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = self.metadata
        // What stands nearer to the record wins.
        if let provided = self.metadataProvider?.get() {
            fields.merge(provided) { $1 }
        }
        if let error = event.error {
            fields["error"] = .string("\(error)")
        }
        if let explicit = event.metadata {
            fields.merge(explicit) { $1 }
        }
        var line = LogLine(format: self.format)
        line.begin(unixMilliseconds: self.now(), level: event.level.rawValue, message: event.message.description)
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            line.append(key: key, value: value)
        }
        self.write(line.finish())
    }

    /// Writes to descriptor 2; what cannot be written is lost.
    static func writeToStandardError(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer[...]
            while !rest.isEmpty {
                let count = systemWrite(STDERR_FILENO, UnsafeRawBufferPointer(rebasing: rest))
                if count > 0 {
                    rest = rest.dropFirst(count)
                } else if errno != EINTR {
                    return
                }
            }
        }
    }
}

/// Outside of the type, where `write` means the handler's own.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
    write(descriptor, bytes.baseAddress, bytes.count)
}

/// One line while it is being written.
struct LogLine {
    /// Longest key, message or value, in bytes of UTF-8 before escaping.
    static let maxValueBytes = 1_024

    private static let reservedKeys: Set<String> = ["time", "level", "message"]

    private let format: LineLogHandler.Format
    private var text = ByteBuffer()

    init(format: LineLogHandler.Format) {
        self.format = format
        self.text.reserveCapacity(256)
    }

    mutating func begin(unixMilliseconds: Int64, level: String, message: String) {
        switch self.format {
        case .json:
            self.text.writeStaticString("{\"time\":\"")
            Timestamp.write(unixMilliseconds: unixMilliseconds, into: &self.text)
            self.text.writeString("\",\"level\":\"\(level)\",\"message\":")
            self.appendQuoted(message)
        case .text:
            Timestamp.write(unixMilliseconds: unixMilliseconds, into: &self.text)
            self.text.writeString(" \(level) ")
            self.appendEscaped(message, .bareQuotes)
        }
    }

    mutating func append(key: String, value: Logger.MetadataValue) {
        switch self.format {
        case .json:
            self.text.writeStaticString(",\"")
            self.appendEscaped(key)
            // A second `time` in one object would hide the first from most readers.
            self.text.writeStaticString(Self.reservedKeys.contains(key) ? "_\":" : "\":")
            if let bare = Self.bare(value) {
                self.text.writeString(bare)
            } else {
                self.appendQuoted(value.description)
            }
        case .text:
            self.text.writeStaticString(" ")
            self.appendPlainOrQuoted(key)
            self.text.writeStaticString("=")
            self.appendPlainOrQuoted(value.description)
        }
    }

    mutating func finish() -> [UInt8] {
        self.text.writeStaticString(self.format == .json ? "}\n" : "\n")
        return Array(self.text.readableBytesView)
    }

    /// Numbers and booleans are JSON values without quotes.
    private static func bare(_ value: Logger.MetadataValue) -> String? {
        guard case .stringConvertible(let convertible) = value else { return nil }
        switch convertible {
        case let number as any FixedWidthInteger: return "\(number)"
        case let number as Double where number.isFinite: return "\(number)"
        case let flag as Bool: return flag ? "true" : "false"
        default: return nil
        }
    }

    private mutating func appendQuoted(_ value: String) {
        self.text.writeStaticString("\"")
        self.appendEscaped(value)
        self.text.writeStaticString("\"")
    }

    private mutating func appendPlainOrQuoted(_ value: String) {
        let plain = !value.isEmpty && value.unicodeScalars.allSatisfy { $0 != " " && $0 != "=" && $0 != "\"" }
        if plain {
            self.appendEscaped(value)
        } else {
            self.appendQuoted(value)
        }
    }

    private mutating func appendEscaped(_ value: String, _ escapes: JSONEscapes = []) {
        let front = value.prefix(maxBytes: Self.maxValueBytes)
        self.text.writeEscaped(front, escapes.union([.unsafeText, .shortForms]))
        if front.endIndex < value.endIndex { self.text.writeStaticString("…") }
    }
}
