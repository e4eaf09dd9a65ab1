import NIOCore
import SidecarCore

/// Messages as Server-Sent Events: the `id` is each stream's own, the rest is the same for all.
struct EventStreamCodec {
    /// Larger texts are written separately from their `id` instead of copied behind it, in bytes.
    private static let copyThreshold = 4096

    /// The reader in the cursors of the stream.
    private let reader: UInt64

    init(connectionID: String) {
        reader = StreamCursor.reader(connectionID)
    }

    /// An event without its `id`.
    static func encode(_ format: MessageFormat, _ payload: ByteBuffer, event: String? = nil) -> ByteBuffer {
        var text = ByteBuffer()
        EventStreamText.write(format, payload, event: event, into: &text)
        return text
    }

    /// An event with its position, if it has one, for the send queue.
    func message(_ text: ByteBuffer, at cursor: StreamCursor?) -> SendQueue.Message {
        guard let cursor else { return SendQueue.Message(header: text, payload: nil) }
        var line = ByteBuffer()
        EventStreamText.writeID(cursor.read(by: reader), into: &line)
        return SendQueue.Message(header: line, payload: text)
    }

    /// Sends an event while the output is clear.
    func send(_ text: ByteBuffer, at cursor: StreamCursor?, over output: ClientOutput) {
        guard let cursor, text.readableBytes <= Self.copyThreshold else {
            return output.send(message(text, at: cursor))
        }
        output.send { buffer in
            EventStreamText.writeID(cursor.read(by: reader), into: &buffer)
            buffer.writeImmutableBuffer(text)
        }
    }
}
