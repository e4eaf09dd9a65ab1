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
        "Retry-After is read in seconds or as a date",
        arguments: [
            ("0", 0), ("1", 1), ("120", 120), ("999999999", 86_400), ("99999999999999999999999", 86_400), ("", nil),
            ("-1", nil), ("1.5", nil), (" 1", nil), ("１", nil),
            // The time is 1994-11-06T08:49:37Z.
            ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("Sun, 06 Nov 1994 08:49:43 GMT", 6),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0), ("Tue, 08 Nov 1994 08:49:37 GMT", 86_400),
            ("Mon, 07 Nov 1994 00:00:00 GMT", 54_623), ("Wed, 31 Dec 9999 23:59:60 GMT", 86_400),
            ("Sunday, 06-Nov-94 08:49:37 GMT", nil), ("Sun Nov  6 08:49:37 1994", nil),
            ("Sun, 06 Nov 1994 24:49:37 GMT", nil), ("Sun, 06 Nov 1994 08:49 GMT", nil),
            ("Sun, 32 Nov 1994 08:49:37 GMT", nil), ("Sun, 06 Foo 1994 08:49:37 GMT", nil),
        ] as [(String, Int64?)]
    )
    func field(text: String, seconds: Int64?) {
        let now: Int64 = 784_111_777_500
        #expect(RetryPolicy.retryAfter(text, unixMilliseconds: now) == seconds.map { .seconds($0) })
        #expect(RetryPolicy.retryAfter(nil, unixMilliseconds: now) == nil)
    }
}
