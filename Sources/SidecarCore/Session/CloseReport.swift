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
    /// Whether the messages and the duration are known, which they are not on a lost node.
    public var isCounted = true

    /// The end of a connection whose node was lost.
    public static let lost = {
        var report = CloseReport(
            code: .abnormal,
            reason: "",
            initiator: .network,
            messagesIn: 0,
            messagesOut: 0,
            durationMilliseconds: 0
        )
        report.isCounted = false
        return report
    }()

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
