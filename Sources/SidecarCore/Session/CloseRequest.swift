/// A request of the app, or of an operator, to close a connection.
public struct CloseRequest: Sendable, Equatable {
    /// A code that a server may send (RFC 6455 §7.4).
    public let code: SessionCloseCode
    /// The reason, cut between two characters to the ``maxReasonBytes`` that a Close frame can carry, so that the
    /// client, the `close` event and the log have the same text.
    public let reason: String

    /// The longest reason, in bytes: a control frame's 125 without the code (RFC 6455 §5.5.1).
    public static let maxReasonBytes = 123

    /// Checks the code: 1000–1003, 1007–1014 and 3000–4999 may be sent.
    public init?(code: Int, reason: String) {
        guard let code = SessionCloseCode(sendable: code) else { return nil }
        self.code = code
        self.reason = String(reason.prefix(maxBytes: Self.maxReasonBytes))
    }

    private init(_ code: SessionCloseCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// The close of a banned client's connections.
    public static let banned = CloseRequest(.forbidden, "access is denied")

    /// Reads `4000` or `4000 bye`, the value of `Sidesocket-Close`.
    init?(headerValue: String) {
        let parts = headerValue.split(separator: " ", maxSplits: 1)
        guard let first = parts.first, first.utf8.count == 4, let code = Int(first) else { return nil }
        self.init(code: code, reason: parts.count > 1 ? String(parts[1]) : "")
    }
}
