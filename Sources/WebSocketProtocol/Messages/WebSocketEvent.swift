public import NIOCore

/// What a peer said, once it is whole.
public enum WebSocketEvent: Sendable, Equatable {
    /// A whole message, its fragments joined and unmasked.
    case message(MessageKind, ByteBuffer)
    /// A Ping that wants a Pong with the same payload of at most 125 bytes (RFC 6455 §5.5.2).
    case ping(ByteBuffer)
    /// A Pong, asked for or not (RFC 6455 §5.5.3).
    case pong(ByteBuffer)
    /// A Close frame; no code when its body was empty (RFC 6455 §5.5.1).
    case close(CloseCode?, reason: String)
}
