public import NIOCore

/// Whether a message carries UTF-8 text or bytes.
public enum MessageKind: Sendable {
    /// Valid UTF-8, checked as it arrived.
    case text
    /// Bytes of any meaning.
    case binary
}

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

/// How much one message may take before the connection is closed with 1009.
public struct MessageLimits: Sendable, Equatable {
    /// The payload bytes of one whole message; 2 GiB − 1 at most, whatever is asked for.
    public var maxMessageBytes: Int
    /// The frames of one message, empty ones too; an unfragmented message has one.
    public var maxFragments: Int

    /// - Parameters:
    ///   - maxMessageBytes: payload bytes of one whole message; less than 0 counts as 0.
    ///   - maxFragments: frames of one message; less than 1 counts as 1.
    public init(maxMessageBytes: Int, maxFragments: Int) {
        self.maxMessageBytes = maxMessageBytes
        self.maxFragments = maxFragments
    }
}
