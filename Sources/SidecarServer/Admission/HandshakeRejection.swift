import SidecarCore

/// The refusal of a handshake, with its label in metrics.
struct HandshakeRejection: Error {
    let refusal: Refusal
    let result: HandshakeResult
}

extension HandshakeRejection {
    /// The refusal of a banned client; it does not say whether the address or the user is banned.
    static var banned: HandshakeRejection {
        HandshakeRejection(
            refusal: Refusal(status: 403, sentence: "Access is denied.", reason: .ban),
            result: .auth
        )
    }
}

/// Whose connections are counted together.
enum ConnectionHolder: String {
    case user
    case address
}

extension Refusal {
    /// Seconds after which a client with too many open connections may try again.
    private static let connectionRetry: Int64 = 10

    /// The refusal of a client whose address or user has reached its limit of connections.
    static func tooManyConnections(of holder: ConnectionHolder, limit: Int) -> Refusal {
        Refusal(
            status: 429,
            sentence: "This \(holder.rawValue) has too many connections open.",
            reason: .connectionLimit,
            fields: RateLimitHeaderFields(policy: "connections-per-\(holder.rawValue)", atOnce: limit)
                .refused(retryAfter: connectionRetry * 1_000_000_000)
        )
    }
}
