import NIOCore
import SidecarCore

/// What a message looks like on a connection, where that is the same for all connections of the kind.
///
/// An enum, since a switch is cheaper than an existential, and the case is the key of the encoded form.
enum MessageCodec: Equatable {
    /// The payload as it is, in a WebSocket frame: ``RawFrames``.
    case rawFrames
    /// A frame of the client protocol, in a WebSocket frame.
    case protocolFrames(ProtocolEncoding)
    /// A frame of the client protocol as it is, one of several in the answer to a poll.
    case protocolPolls
    /// A frame of the client protocol as an event of a stream.
    case protocolEvents
    /// Server-Sent Events: ``EventStreamCodec``.
    case eventStream

    /// The encoding of the client protocol; nil for other clients.
    var encoding: ProtocolEncoding? {
        switch self {
        case .protocolFrames(let encoding): encoding
        case .protocolPolls, .protocolEvents: .json
        case .rawFrames, .eventStream: nil
        }
    }

    /// What a frame of the client protocol is on the connection.
    func wrap(_ frame: ByteBuffer) -> ByteBuffer {
        switch self {
        case .protocolFrames(let encoding): RawFrames.encode(encoding.format, frame)
        case .protocolEvents: EventStreamCodec.encode(frame: frame)
        case .protocolPolls, .rawFrames, .eventStream: frame
        }
    }

    /// What a message is in the frames of a WebSocket.
    ///
    /// - Parameter delivery: Its place in its channel, without which the client protocol has no form for it.
    func body(of message: PreparedMessage, in delivery: ChannelDelivery?) -> (format: MessageFormat, bytes: ByteBuffer)
    {
        guard let encoding, let delivery else { return (message.format, message.payload) }
        let bytes = encoding.publication(
            message.format,
            message.payload,
            event: message.event,
            at: delivery.position,
            of: delivery.channel,
            time: delivery.time
        )
        return (encoding.format, bytes)
    }

    /// A whole message, uncompressed.
    func encode(_ message: PreparedMessage, in delivery: ChannelDelivery?) -> ByteBuffer {
        switch self {
        case .rawFrames: return RawFrames.encode(message.format, message.payload)
        case .eventStream: return EventStreamCodec.encode(message.format, message.payload, event: message.event)
        case .protocolFrames, .protocolPolls, .protocolEvents: return wrap(body(of: message, in: delivery).bytes)
        }
    }
}
