/// What a frame carries (RFC 6455 §5.2).
public enum FrameOpcode: UInt8, Sendable, CaseIterable {
    /// A further part of the open message.
    case continuation = 0
    /// The first part of a text message.
    case text = 1
    /// The first part of a binary message.
    case binary = 2
    /// The end of the connection.
    case close = 8
    /// A request for a Pong.
    case ping = 9
    /// The answer to a Ping, or a one-way heartbeat.
    case pong = 10

    /// True for Close, Ping and Pong, which may come between the fragments of a message.
    public var isControl: Bool { self.rawValue & 0x08 != 0 }
}
