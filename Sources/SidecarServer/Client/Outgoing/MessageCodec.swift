import NIOCore
import SidecarCore

/// What a message looks like on a connection, where that is the same for all connections of the kind.
///
/// An enum, since a switch is cheaper than an existential, and the case is the key of the encoded form.
enum MessageCodec {
    /// The payload as it is, in a WebSocket frame: ``RawFrames``.
    case rawFrames
    /// Server-Sent Events: ``EventStreamCodec``.
    case eventStream

    /// A whole message, uncompressed.
    ///
    /// - Parameter event: The event type that it was published with; nil for the default.
    func encode(_ format: MessageFormat, _ payload: ByteBuffer, event: String?) -> ByteBuffer {
        switch self {
        case .rawFrames: RawFrames.encode(format, payload)
        case .eventStream: EventStreamCodec.encode(format, payload, event: event)
        }
    }
}
