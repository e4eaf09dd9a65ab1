import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("Pauses between attempts")
struct RetryPauseTests {
    @Test("Pauses stay within a bound that doubles up to the longest, and start again after a success")
    func bounds() {
        var generator = SeededRandom(seed: 1)
        var pause = RetryPause(.milliseconds(50) ... .seconds(5))
        for bound: Int64 in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000] {
            let next = pause.next(using: &generator)
            #expect(next >= .milliseconds(50) && next <= .milliseconds(bound))
        }
        pause.reset()
        #expect(pause.next(using: &generator) <= .milliseconds(100))
    }

    @Test("Bounds without sense neither trap nor spin")
    func senseless() {
        var generator = SeededRandom(seed: 1)
        var pause = RetryPause(.nanoseconds(.min) ... .nanoseconds(.min))
        #expect(pause.next(using: &generator) == .nanoseconds(1))
        var longest = RetryPause(.nanoseconds(.max) ... .nanoseconds(.max))
        #expect(longest.next(using: &generator) == .nanoseconds(.max))
        #expect(longest.next(using: &generator) == .nanoseconds(.max))
    }
}
