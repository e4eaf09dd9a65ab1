import NIOCore
import SidecarCore
import Testing

@Suite("Retry policy")
struct RetryPolicyTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let policy = RetryPolicy(retryFor: .seconds(30))

    private func delay(
        _ failures: Int,
        at seconds: Double = 0,
        retryAfter: TimeAmount? = nil,
        jitter: Double = 1,
        _ policy: RetryPolicy? = nil
    ) -> TimeAmount? {
        (policy ?? self.policy).delay(
            afterFailures: failures,
            since: Self.start,
            now: Self.start + .nanoseconds(Int64(seconds * 1e9)),
            retryAfter: retryAfter,
            jitter: jitter
        )
    }

    @Test("The window doubles from 100 ms to 5 s, and the jitter uses all of it")
    func window() {
        let windows = (1...8).map { delay($0)?.nanoseconds ?? 0 }
        #expect(windows.map { $0 / 1_000_000 } == [100, 200, 400, 800, 1600, 3200, 5000, 5000])
        #expect(delay(3, jitter: 0) == .zero)
        #expect(delay(3, jitter: 0.5) == .milliseconds(200))
        #expect(delay(.max, jitter: 1) == .seconds(5))
        #expect(delay(.min, jitter: 7) == .milliseconds(100))
    }

    @Test("Retry-After is a minimum, but the last attempt comes when the time is over")
    func retryAfter() {
        #expect(delay(1, retryAfter: .seconds(2)) == .seconds(2))
        #expect(delay(7, retryAfter: .seconds(2)) == .seconds(5))
        #expect(delay(1, at: 25, retryAfter: .seconds(60)) == .seconds(5))
        #expect(delay(1, at: 29.99) == .milliseconds(10))
    }

    @Test("After the time there is no further attempt")
    func over() {
        #expect(delay(1, at: 30) == nil)
        #expect(delay(1, at: 31) == nil)
        #expect(delay(1, RetryPolicy(retryFor: .zero)) == nil)
    }

    @Test(
        "Retry-After is read in seconds",
        arguments: [
            ("0", 0), ("1", 1), ("120", 120), ("999999999", 86_400), ("", nil), ("-1", nil), ("1.5", nil), (" 1", nil),
            ("9999999999", nil), ("Wed, 21 Oct 2026 07:28:00 GMT", nil), ("１", nil),
        ] as [(String, Int64?)]
    )
    func field(text: String, seconds: Int64?) {
        #expect(RetryPolicy.retryAfter(text) == seconds.map { .seconds($0) })
        #expect(RetryPolicy.retryAfter(nil) == nil)
    }
}
