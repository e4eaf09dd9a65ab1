public import NIOCore

/// Writes Server-Sent Events (HTML Living Standard §9.2).
public enum EventStreamText {
    /// The type that text has when nothing else is said.
    static let binaryEvent = "binary"

    /// One event: text as `data` lines, binary as base64 with the event type `binary`.
    ///
    /// - Parameters:
    ///   - id: What a client that comes again says in `Last-Event-ID`; nil for none.
    ///   - event: The event type; nil for the usual one.
    public static func write(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        id: String?,
        event: String? = nil,
        into buffer: inout ByteBuffer
    ) {
        if let id { buffer.writeString("id: \(id)\n") }
        switch format {
        case .text:
            if let event { buffer.writeString("event: \(event)\n") }
            writeLines(payload, into: &buffer)
        case .binary:
            buffer.writeString("event: \(event ?? binaryEvent)\ndata: ")
            Base64Text.write(payload, into: &buffer)
            buffer.writeStaticString("\n")
        }
        buffer.writeStaticString("\n")
    }

    /// A CR, an LF or both end a line; each line is one of `data`, and the client joins them with LF.
    private static func writeLines(_ text: ByteBuffer, into buffer: inout ByteBuffer) {
        var rest = text.readableBytesView
        while true {
            let line = rest.prefix { $0 != 0x0A && $0 != 0x0D }
            buffer.writeStaticString("data: ")
            buffer.writeBytes(line)
            buffer.writeStaticString("\n")
            rest = rest[line.endIndex...]
            guard let end = rest.popFirst() else { return }
            if end == 0x0D, rest.first == 0x0A { rest.removeFirst() }
        }
    }

    /// The event that says that something was missed.
    public static let reset = ByteBuffer(string: "event: reset\ndata:\n\n")
    /// A comment, which keeps the stream alive.
    public static let heartbeat = ByteBuffer(string: ":\n\n")

    /// When to come again after the end, in milliseconds.
    public static func retry(milliseconds: Int64) -> ByteBuffer { ByteBuffer(string: "retry: \(milliseconds)\n\n") }

    /// True for a value of `Sidesocket-Event`: 1 to 128 printable characters.
    static func isEventType(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { 0x20...0x7E ~= $0 }
    }
}

/// The place of an event among all publications of a process, as clients of event streams carry it.
public struct StreamCursor: Sendable, Equatable {
    /// Of the process: another one has other places.
    public let epoch: UInt64
    /// The publications up to it.
    public let sequence: UInt64

    /// Makes one.
    public init(epoch: UInt64, sequence: UInt64) {
        self.epoch = epoch
        self.sequence = sequence
    }

    /// Reads `Last-Event-ID`; nil for what is none of ours.
    public init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.count <= 40, let epoch = UInt64(parts[0], radix: 36),
            let sequence = UInt64(parts[1], radix: 36)
        else { return nil }
        self.init(epoch: epoch, sequence: sequence)
    }

    /// As it stands in `id`.
    public var text: String { String(epoch, radix: 36) + "-" + String(sequence, radix: 36) }
}

/// What a stream that comes again has missed.
public struct MissedEvents: Sendable, Equatable {
    /// The messages, in their order, with their places.
    public var messages: [(cursor: StreamCursor, message: StoredMessage)]
    /// Whether all that was published since is among them.
    public var isComplete: Bool
    /// Everything up to here has been said.
    public var upTo: UInt64

    /// By places.
    public static func == (one: MissedEvents, other: MissedEvents) -> Bool {
        one.isComplete == other.isComplete && one.upTo == other.upTo
            && one.messages.map(\.message) == other.messages.map(\.message)
    }
}
