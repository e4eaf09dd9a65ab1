import SidecarCore

/// How fast an address may open WebSockets and event streams (`CONNECT_RATE_PER_IP`).
struct ConnectRate: Sendable {
    private let rate: Rate?
    private let table: RateLimitTable?
    private let fields: RateLimitHeaderFields?

    /// - Parameters:
    ///   - rate: Nil for no limit.
    ///   - old: The previous limit; its counts are kept if the rate is the same.
    init(_ rate: Rate?, after old: ConnectRate? = nil) {
        self.rate = rate
        fields = rate.map { RateLimitHeaderFields(policy: "connect", rate: $0) }
        if let old, old.rate == rate {
            table = old.table
        } else {
            var random = SystemRandomNumberGenerator()
            table = rate.map { RateLimitTable(GCRA($0), seed: (random.next(), random.next())) }
        }
    }

    /// Counts a handshake, even one that is refused later.
    ///
    /// - Returns: Nanoseconds after which the address may try again if this was too soon; otherwise nil.
    func take(_ key: RateLimitKey, now: Int64) -> Int64? {
        guard case .limited(let wait)? = table?.take(key.addressKey, now: now) else { return nil }
        return wait
    }

    /// The refusal of a handshake that came too soon.
    func rejection(retryAfter wait: Int64) -> HandshakeRejection {
        HandshakeRejection(
            refusal: Refusal(
                status: 429,
                sentence: "This address is opening connections too fast.",
                reason: .rateLimited,
                fields: fields?.refused(retryAfter: wait) ?? []
            ),
            result: .rateLimited
        )
    }
}
