import Logging
import NIOCore
import SidecarCore

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
    private let now: @Sendable () -> LogTime
    private let write: @Sendable ([UInt8]) -> Void

    /// Creates a handler.
    ///
    /// - Parameters:
    ///   - now: the time of a record.
    ///   - write: takes one complete line, line feed included.
    init(
        level: Logger.Level,
        format: Format = .json,
        metadataProvider: Logger.MetadataProvider? = nil,
        now: @escaping @Sendable () -> LogTime = { .now() },
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
        line.begin(time: self.now(), level: event.level.rawValue, message: event.message.description)
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) {
            line.append(key: key, value: value)
        }
        self.write(line.finish())
    }

    /// Writes to descriptor 2; what can't be written is lost, since there is no better place to complain.
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

/// A moment of the wall clock.
struct LogTime: Sendable, Equatable {
    var secondsSince1970: Int
    var milliseconds: Int

    static func now() -> LogTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return LogTime(secondsSince1970: Int(time.tv_sec), milliseconds: Int(time.tv_nsec) / 1_000_000)
    }

    /// RFC 3339 in UTC with milliseconds: `2026-11-23T10:00:00.123Z`.
    var text: String {
        var parts = tm()
        var seconds = time_t(self.secondsSince1970)
        gmtime_r(&seconds, &parts)
        func padded(_ number: Int, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(width - digits.count, 0)) + digits
        }
        let date = "\(padded(Int(parts.tm_year) + 1_900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))"
        let clock = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)-\(padded(Int(parts.tm_mday), 2))T\(clock).\(padded(self.milliseconds, 3))Z"
    }
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

    mutating func begin(time: LogTime, level: String, message: String) {
        switch self.format {
        case .json:
            self.text.writeString("{\"time\":\"\(time.text)\",\"level\":\"\(level)\",\"message\":")
            self.appendQuoted(message)
        case .text:
            self.text.writeString("\(time.text) \(level) ")
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
