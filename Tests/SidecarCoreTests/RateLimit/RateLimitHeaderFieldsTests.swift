import HTTP1
import NIOCore
import Testing

@testable import SidecarCore

@Suite("The header fields of a rate limit")
struct RateLimitHeaderFieldsTests {
    private let fields = RateLimitHeaderFields(policy: "connect", rate: Rate(20, per: .seconds(1), burst: 40))

    @Test("a refusal names the policy, the remaining nothing and one moment to come again")
    func refused() {
        #expect(
            fields.refused(retryAfter: 2_000_000_001) == [
                ResponseField("RateLimit-Policy", "\"connect\";q=20;w=1"),
                ResponseField("RateLimit", "\"connect\";r=0;t=3"), ResponseField("Retry-After", "3"),
            ]
        )
    }

    @Test(
        "seconds to wait are rounded up and at least one",
        arguments: [
            (Int64.min, 1), (-1, 1), (0, 1), (1, 1), (999_999_999, 1), (1_000_000_000, 1), (1_000_000_001, 2),
            (59_000_000_001, 60), (.max, 9_223_372_037),
        ]
    )
    func seconds(nanoseconds: Int64, expected: Int) {
        #expect(RateLimitHeaderFields.retryAfterSeconds(nanoseconds) == expected)
    }

    @Test(
        "the window is whole seconds, with the quota of the rate in it",
        arguments: [
            (Rate(600, per: .minutes(1), burst: 100), "\"x\";q=600;w=60"),
            (Rate(5, per: .milliseconds(500)), "\"x\";q=10;w=1"),
            (Rate(3, per: .milliseconds(1500)), "\"x\";q=4;w=2"),
            (Rate(1 << 20, per: .seconds(1), unit: .bytes), "\"x\";q=1048576;qu=\"content-bytes\";w=1"),
            (Rate(.max, per: .milliseconds(1), unit: .bytes), "\"x\";q=999999999999999;qu=\"content-bytes\";w=1"),
            (Rate(1, per: .hours(24)), "\"x\";q=1;w=86400"),
        ]
    )
    func windows(rate: Rate, policy: String) {
        #expect(RateLimitHeaderFields(policy: "x", rate: rate).policy == policy)
    }

    @Test("a policy's name cannot break out of its quotes")
    func names() {
        let odd = RateLimitHeaderFields(policy: "a\"b\\c\r\nd\u{7F}é~ ", rate: Rate(1, per: .seconds(1)))
        #expect(odd.policy == "\"a\\\"b\\\\cd~ \";q=1;w=1")
        #expect(HTTPField.isValidFieldValue(odd.policy))
    }
}
