import NIOCore
import Testing

@testable import RedisCluster

@Suite("The engine's clock")
struct EngineClockTests {
    @Test("It is known from the first answer, and better from a faster one")
    func learned() {
        let clock = EngineClock(unixMilliseconds: { 1_000_000 })
        #expect(clock.now == 1_000_000 && clock.age(of: 999_000) == nil)
        clock.learned(1_000_500, roundTrip: .milliseconds(10))
        #expect(clock.now == 1_000_505 && clock.age(of: 1_000_400) == 105)
        clock.learned(1_000_490, roundTrip: .milliseconds(20))
        #expect(clock.now == 1_000_505)
        clock.learned(1_000_501, roundTrip: .milliseconds(2))
        #expect(clock.now == 1_000_502)
        clock.learned(2_000_000, roundTrip: .milliseconds(20))
        #expect(clock.now == 2_000_010)
        #expect(clock.age(of: 3_000_000) == 0)
    }

    @Test("Times that cannot be do no harm", arguments: [.min, .max, 0, -1] as [Int64])
    func hostile(time: Int64) {
        let clock = EngineClock(unixMilliseconds: { 1_000_000 })
        for other in [time, 5, time] {
            clock.learned(other, roundTrip: .nanoseconds(.max))
            clock.learned(other, roundTrip: .zero)
            #expect(clock.age(of: time) ?? 0 >= 0)
        }
    }
}
