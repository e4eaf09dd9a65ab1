import HTTP1
import Logging
import SidecarCore

/// Which pages may open a socket (`ALLOWED_ORIGINS`).
struct OriginRule: Sendable {
    let policy: OriginPolicy
    /// Whether a client without an `Origin`, which is not a page, may.
    let allowsMissing: Bool
    let enforcement: LimitEnforcement

    /// - Throws: The refusal of a page that may not.
    func check(_ head: HTTPRequestHead, _ client: ResolvedClient) throws(HandshakeRejection) {
        let decision = policy.decide(
            origin: head.headers.values(of: "origin"),
            fetchSite: head.headers.values(of: "sec-fetch-site"),
            host: client.forwardedHost ?? head.headers.first("host") ?? "",
            scheme: client.scheme,
            allowMissing: allowsMissing
        )
        guard case .refused(let why) = decision, !enforcement.allows(.allowedOrigins) else { return }
        enforcement.refused(
            .allowedOrigins,
            client,
            ["origin": "\(head.headers.first("origin") ?? "")", "why": "\(why.sentence)"]
        )
        throw HandshakeRejection(
            refusal: Refusal(status: 403, sentence: why.sentence, reason: .origin),
            result: .origin
        )
    }
}
