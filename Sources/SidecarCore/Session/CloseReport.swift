/// The end of a connection as the app is told of it, the body of the `close` event.
public struct CloseReport: Sendable, Equatable {
    /// The close code of RFC 6455 §7.4; 1005 without a code, 1006 without a Close frame.
    public var code: SessionCloseCode
    /// The reason of the Close frame, or empty.
    public var reason: String
    /// Who ended it.
    public var initiator: CloseInitiator
    /// Data messages received from the client.
    public var messagesIn: Int
    /// Data messages sent to the client.
    public var messagesOut: Int
    /// From the accepted handshake to the end, in milliseconds.
    public var durationMilliseconds: Int64

    /// Makes a report.
    public init(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        messagesIn: Int,
        messagesOut: Int,
        durationMilliseconds: Int64
    ) {
        self.code = code
        self.reason = reason
        self.initiator = initiator
        self.messagesIn = messagesIn
        self.messagesOut = messagesOut
        self.durationMilliseconds = durationMilliseconds
    }
}
