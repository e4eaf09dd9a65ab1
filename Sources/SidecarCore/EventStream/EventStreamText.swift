public import NIOCore

/// Writes Server-Sent Events (HTML Living Standard §9.2).
public enum EventStreamText {
    /// The event type of binary messages without a type of their own.
    static let binaryEvent = "binary"

    /// One event: text as `data` lines, binary as base64 with the event type `binary`.
    ///
    /// - Parameter event: The event type; nil for the default.
    public static func write(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        event: String? = nil,
        into buffer: inout ByteBuffer
    ) {
        if format.isText {
            if let event { buffer.writeString("event: \(event)\n") }
            writeLines(payload, into: &buffer)
        } else {
            buffer.writeString("event: \(event ?? binaryEvent)\ndata: ")
            Base64.write(payload, into: &buffer)
            buffer.writeStaticString("\n")
        }
        buffer.writeStaticString("\n")
    }

    /// Writes the `id` that a returning client sends as `Last-Event-ID`; an event follows, or an empty line when there
    /// is none.
    public static func writeID(_ cursor: StreamCursor, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("id: ")
        cursor.write(into: &buffer)
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

    /// The event that tells the client that messages are missing.
    public static let reset = ByteBuffer(string: "event: reset\ndata:\n\n")
    /// The end of an event; after an `id` alone it produces no event, but the client keeps the `id`.
    public static let end = ByteBuffer(string: "\n")
    /// A comment, which keeps the stream open.
    public static let heartbeat = ByteBuffer(string: ":\n\n")

    /// The time after which a client reconnects, in milliseconds.
    public static func retry(milliseconds: Int64) -> ByteBuffer { ByteBuffer(string: "retry: \(milliseconds)\n\n") }

    /// True for a value of `Sidesocket-Event`: 1 to 128 printable characters, and not a type that the client protocol
    /// keeps for itself.
    static func isEventType(_ text: String) -> Bool { FrameType.isValid(text) && !FrameType.isReserved(text) }
}
