import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Rate of handshakes")
struct ConnectRateTests {
    private static let rate = Rate(1, per: .seconds(1), burst: 2)

    private func key(_ address: String) throws -> RateLimitKey {
        RateLimitKey(try Samples.address(address), ipv6PrefixLength: 64)
    }

    @Test("An address has its burst and then waits; another one does not")
    func burst() throws {
        let rate = ConnectRate(Self.rate)
        let first = try key("192.0.2.1")
        #expect(rate.take(first, now: 0) == nil)
        #expect(rate.take(first, now: 0) == nil)
        #expect(rate.take(first, now: 0) == Samples.second)
        #expect(rate.take(try key("192.0.2.2"), now: 0) == nil)
        #expect(rate.take(first, now: Samples.second) == nil)
    }

    @Test("Without a limit nobody waits")
    func unlimited() throws {
        let rate = ConnectRate(nil)
        let key = try key("192.0.2.1")
        #expect((0..<1000).allSatisfy { _ in rate.take(key, now: 0) == nil })
    }

    @Test("The same rate goes on counting after a reload, another one starts afresh")
    func reload() throws {
        let old = ConnectRate(Self.rate)
        let key = try key("192.0.2.1")
        for _ in 0..<2 { _ = old.take(key, now: 0) }
        #expect(ConnectRate(Self.rate, after: old).take(key, now: 0) != nil)
        #expect(ConnectRate(Rate(1, per: .seconds(1), burst: 3), after: old).take(key, now: 0) == nil)
        #expect(ConnectRate(nil, after: old).take(key, now: 0) == nil)
    }

    @Test("The client is told when it may come again")
    func rejection() {
        let rejection = ConnectRate(Self.rate).rejection(retryAfter: 1_500_000_000)
        #expect(rejection.result == .rateLimited)
        #expect(rejection.refusal.status == 429 && rejection.refusal.reason == .rateLimited)
        #expect(rejection.refusal.fields.contains(ResponseField("Retry-After", "2")))
        #expect(rejection.refusal.fields.contains(ResponseField("RateLimit-Policy", "\"connect\";q=1;w=1")))
    }
}
