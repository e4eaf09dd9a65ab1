import NIOCore
import SidecarCore

/// Messages as Server-Sent Events: the `id` is each stream's own, the rest is the same for all.
enum EventStreamCodec {
    /// Larger texts are written separately from their `id` instead of copied behind it, in bytes.
    private static let copyThreshold = 4096

    /// An event without its `id`.
    static func encode(_ format: MessageFormat, _ payload: ByteBuffer, event: String? = nil) -> ByteBuffer {
        var text = ByteBuffer()
        EventStreamText.write(format, payload, event: event, into: &text)
        return text
    }

    /// A frame of the client protocol. The line ends that its JSON may have, always between its values, become blanks, so
    /// that it is one line.
    static func encode(frame: ByteBuffer) -> ByteBuffer {
        func isEnd(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D }
        var text = ByteBufferAllocator().buffer(capacity: frame.readableBytes + 8)
        text.writeStaticString("data: ")
        if frame.readableBytesView.contains(where: isEnd) {
            text.writeBytes(frame.readableBytesView.lazy.map { isEnd($0) ? 0x20 : $0 })
        } else {
            text.writeImmutableBuffer(frame)
        }
        text.writeStaticString("\n\n")
        return text
    }

    /// An event with its position, if it has one, for the send queue.
    static func message(_ text: ByteBuffer, at cursor: StreamCursor?) -> SendQueue.Message {
        guard let cursor else { return SendQueue.Message(header: text, payload: nil) }
        var line = ByteBuffer()
        EventStreamText.writeID(cursor, into: &line)
        return SendQueue.Message(header: line, payload: text)
    }

    /// Sends an event while the output is clear.
    static func send(_ text: ByteBuffer, at cursor: StreamCursor?, over output: ClientOutput) {
        guard let cursor, text.readableBytes <= Self.copyThreshold else {
            return output.send(message(text, at: cursor))
        }
        output.send { buffer in
            EventStreamText.writeID(cursor, into: &buffer)
            buffer.writeImmutableBuffer(text)
        }
    }
}
