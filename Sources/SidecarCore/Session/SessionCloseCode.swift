/// The number that says why a session ended (RFC 6455 §7.4), also on transports other than WebSocket.
///
/// It holds any number, since clients and apps choose codes of their own.
public struct SessionCloseCode: RawRepresentable, Hashable, Sendable {
    /// The code as it stands on the wire.
    public let rawValue: UInt16

    /// Holds any code.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// A code that a server may send: 1000–1003, 1007–1014 and 3000–4999; nil for others.
    public init?(sendable code: Int) {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: rawValue = UInt16(code)
        default: return nil
        }
    }

    /// 1000: the purpose of the connection is fulfilled.
    public static let normal = SessionCloseCode(rawValue: 1000)
    /// 1001: this end closes it because it was silent, idle or open for too long.
    public static let goingAway = SessionCloseCode(rawValue: 1001)
    /// 1002: the client broke the framing rules.
    public static let protocolError = SessionCloseCode(rawValue: 1002)
    /// 1005: a Close frame came without a code; only for reports.
    public static let noStatus = SessionCloseCode(rawValue: 1005)
    /// 1006: there was no Close frame; only for reports.
    public static let abnormal = SessionCloseCode(rawValue: 1006)
    /// 1007: text that is not UTF-8, or corrupt compressed data.
    public static let invalidPayload = SessionCloseCode(rawValue: 1007)
    /// 1008: a limit was exceeded, or the app refused a message.
    public static let policyViolation = SessionCloseCode(rawValue: 1008)
    /// 1009: a message is too big.
    public static let tooBig = SessionCloseCode(rawValue: 1009)
    /// 1011: the app failed.
    public static let internalError = SessionCloseCode(rawValue: 1011)
    /// 1012: the process restarts.
    public static let serviceRestart = SessionCloseCode(rawValue: 1012)
    /// 1013: the app or this process is overloaded or unavailable for a while.
    public static let tryAgainLater = SessionCloseCode(rawValue: 1013)
    /// 4001: a client of the protocol will return.
    public static let backLater = SessionCloseCode(rawValue: 4001)
    /// 4400: what a client of the protocol sent is not a frame.
    public static let badFrame = SessionCloseCode(rawValue: 4400)
    /// 4401: there is no valid token, or it has expired.
    public static let unauthorized = SessionCloseCode(rawValue: 4401)
    /// 4403: the client is known and not allowed to connect.
    public static let forbidden = SessionCloseCode(rawValue: 4403)
    /// 4408: a connection that wanted to resume a session did not say in time what it has, or the session has ended.
    public static let resumeTimeout = SessionCloseCode(rawValue: 4408)
    /// 4409: another connection has resumed the session.
    public static let replaced = SessionCloseCode(rawValue: 4409)
    /// 4410: messages of a channel are lost.
    public static let gap = SessionCloseCode(rawValue: 4410)
    /// 4429: the client sends too much.
    public static let tooManyRequests = SessionCloseCode(rawValue: 4429)
}

extension SessionCloseCode: CustomStringConvertible {
    /// The decimal number.
    public var description: String { String(rawValue) }
}
