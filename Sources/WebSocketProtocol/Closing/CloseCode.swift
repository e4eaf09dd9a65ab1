/// The number in a Close frame that says why a connection ends (RFC 6455 §7.4).
///
/// Any `UInt16` can be held, so that logs and metrics can name what they saw. Whether a code may travel is asked with
/// ``init(receivable:)`` and ``init(sendable:)``.
public struct CloseCode: RawRepresentable, Hashable, Sendable {
    /// The code as it stands on the wire.
    public let rawValue: UInt16

    /// Holds any code, legal or not.
    public init(rawValue: UInt16) {
        self.rawValue = rawValue
    }

    /// A code that a peer may send, or nil for one whose receipt is a violation (RFC 6455 §7.4 and the IANA registry).
    ///
    /// Legal are 1000–1003, 1007–1014 and 3000–4999. 1004 is reserved, 1005, 1006 and 1015 exist only in reports and
    /// never in a frame, 1016–2999 belong to future versions of the protocol.
    public init?(receivable code: UInt16) {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: self.rawValue = code
        default: return nil
        }
    }

    /// A code that the app may ask us to send, or nil when the peer would have to treat it as a violation.
    public init?(sendable code: Int) {
        guard let code = UInt16(exactly: code) else { return nil }
        self.init(receivable: code)
    }

    /// True when the code may stand in a Close frame.
    public var mayTravel: Bool { CloseCode(receivable: self.rawValue) != nil }

    /// 1000: the purpose of the connection is fulfilled.
    public static let normal = CloseCode(rawValue: 1000)
    /// 1001: this end goes away; also max age, idle and pong timeout.
    public static let goingAway = CloseCode(rawValue: 1001)
    /// 1002: the peer broke the framing rules.
    public static let protocolError = CloseCode(rawValue: 1002)
    /// 1005: a Close frame came without a code; only for reports, never sent.
    public static let noStatus = CloseCode(rawValue: 1005)
    /// 1006: the connection ended without a Close frame; only for reports, never sent.
    public static let abnormal = CloseCode(rawValue: 1006)
    /// 1007: text that is not UTF-8, or corrupt compressed data.
    public static let invalidPayload = CloseCode(rawValue: 1007)
    /// 1008: a policy of this end, such as a limit.
    public static let policyViolation = CloseCode(rawValue: 1008)
    /// 1009: the message is too big or has too many fragments.
    public static let tooBig = CloseCode(rawValue: 1009)
    /// 1011: the server met something unexpected.
    public static let internalError = CloseCode(rawValue: 1011)
    /// 1012: the service restarts.
    public static let serviceRestart = CloseCode(rawValue: 1012)
    /// 1013: the service is overloaded or away for a while.
    public static let tryAgainLater = CloseCode(rawValue: 1013)
}

extension CloseCode: CustomStringConvertible {
    /// The decimal number.
    public var description: String { String(self.rawValue) }
}
