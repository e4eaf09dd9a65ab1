import SidecarCore

/// A handshake that is not let in.
struct HandshakeRejection: Error {
    let refusal: Refusal
    let result: HandshakeResult
}

extension HandshakeRejection {
    /// Whoever it is may not come in now.
    static var banned: HandshakeRejection {
        HandshakeRejection(
            refusal: Refusal(status: 403, sentence: "Access is denied.", reason: .ban),
            result: .auth
        )
    }
}

extension Refusal {
    /// Seconds after which a client that has too many connections open may look again.
    private static let connectionRetry: Int64 = 10

    /// What a client is told whose address or user has as many connections as allowed.
    static func tooManyConnections(of whom: String, limit: Int) -> Refusal {
        Refusal(
            status: 429,
            sentence: "This \(whom) has too many connections open.",
            reason: .connectionLimit,
            fields: RateLimitHeaderFields(policy: "connections-per-\(whom)", atOnce: limit)
                .refused(retryAfter: connectionRetry * 1_000_000_000)
        )
    }
}
