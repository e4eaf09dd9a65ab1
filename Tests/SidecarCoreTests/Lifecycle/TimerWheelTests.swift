import NIOCore
import SidecarCore
import TestSupport
import Testing

/// The same promises kept by a plain list.
private struct NaiveTimers {
    let tick: Int64
    let slots: Int64
    private var now: Int64 = 0
    private var entries: [(id: Int, tick: Int64)] = []

    init(tick: Int64, slots: Int64) {
        self.tick = tick
        self.slots = slots
    }

    var count: Int { entries.count }

    mutating func add(_ id: Int, at nanosecond: Int64) {
        let due = Int64((Double(max(nanosecond, 0)) / Double(tick)).rounded(.up))
        entries.append((id, min(max(due, now + 1), now + slots - 1)))
    }

    mutating func advance(to nanosecond: Int64) -> [Int] {
        now = max(now, nanosecond / tick)
        let due = entries.filter { $0.tick <= now }.enumerated()
            .sorted { ($0.element.tick, $0.offset) < ($1.element.tick, $1.offset) }
        entries.removeAll { $0.tick <= now }
        return due.map(\.element.id)
    }
}

@Suite("Timer wheel")
struct TimerWheelTests {
    private static let origin = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func moment(_ milliseconds: Int64) -> NIODeadline { Self.origin + .milliseconds(milliseconds) }

    private func wheel(slots: Int = 8) -> TimerWheel<String> {
        TimerWheel(startingAt: Self.origin, tick: .milliseconds(10), slots: slots)
    }

    @Test("An entry comes out with the first tick at or after its deadline")
    func rounding() {
        var wheel = wheel()
        for deadline in [-5, 0, 1, 9, 10, 11, 20, 21] as [Int64] { wheel.add("\(deadline)", at: moment(deadline)) }
        #expect(wheel.count == 8)
        #expect(wheel.advance(to: moment(9)) == [])
        #expect(wheel.advance(to: moment(10)) == ["-5", "0", "1", "9", "10"])
        #expect(wheel.advance(to: moment(19)) == [])
        #expect(wheel.advance(to: moment(20)) == ["11", "20"])
        #expect(wheel.advance(to: moment(1000)) == ["21"])
        #expect(wheel.count == 0)
    }

    @Test("A deadline at the end of the span is kept, one beyond it comes out early to be filed again")
    func span() {
        for (deadline, comesOutAt) in [(60, 60), (70, 70), (80, 70), (1_000_000, 70)] as [(Int64, Int64)] {
            var wheel = wheel(slots: 8)
            wheel.add("x", at: moment(deadline))
            #expect(wheel.advance(to: moment(comesOutAt - 10)) == [])
            #expect(wheel.advance(to: moment(comesOutAt)) == ["x"], "\(deadline)")
        }
    }

    @Test("After a long stop everything comes out once, in the order of the ticks")
    func longStop() {
        var wheel = wheel(slots: 8)
        _ = wheel.advance(to: moment(50))
        for deadline in [110, 60, 90, 70] as [Int64] { wheel.add("\(deadline)", at: moment(deadline)) }
        #expect(wheel.advance(to: moment(3_600_000)) == ["60", "70", "90", "110"])
        #expect(wheel.advance(to: moment(7_200_000)) == [])
        wheel.add("later", at: moment(7_200_020))
        #expect(wheel.advance(to: moment(7_200_020)) == ["later"])
    }

    @Test("A clock that stands still or goes back takes nothing out")
    func backwards() {
        var wheel = wheel()
        _ = wheel.advance(to: moment(100))
        wheel.add("x", at: moment(0))
        for time in [100, 50, 0, -1000] as [Int64] { #expect(wheel.advance(to: moment(time)) == []) }
        #expect(wheel.nextTick == moment(110))
        #expect(wheel.advance(to: wheel.nextTick) == ["x"])
    }

    @Test("The end of time, from the beginning of time, is filed like any other deadline")
    func distantDeadlines() {
        for origin in [NIODeadline.uptimeNanoseconds(0), Self.origin] {
            var wheel = TimerWheel<Int>(startingAt: origin, tick: .milliseconds(50), slots: 4)
            wheel.add(1, at: .distantFuture)
            wheel.add(2, at: .distantPast)
            wheel.add(3, at: origin + .hours(100 * 365 * 24))
            #expect(wheel.advance(to: origin + .milliseconds(50)) == [2])
            #expect(wheel.advance(to: origin + .milliseconds(150)) == [1, 3])
        }
    }

    @Test("A wheel of no slots and a tick of no length still turns")
    func degenerate() {
        var wheel = TimerWheel<Int>(startingAt: Self.origin, tick: .zero, slots: 0)
        wheel.add(1, at: Self.origin + .nanoseconds(1))
        #expect(wheel.advance(to: Self.origin + .nanoseconds(1)) == [1])
    }

    @Test("Random use agrees with a plain list", arguments: UInt64(1)...30)
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tick = Int64.random(in: 1...100, using: &random)
        let slots = Int.random(in: 2...40, using: &random)
        var wheel = TimerWheel<Int>(startingAt: Self.origin, tick: .nanoseconds(tick), slots: slots)
        var naive = NaiveTimers(tick: tick, slots: Int64(slots))
        var now: Int64 = 0
        for id in 0..<2000 {
            if Int.random(in: 0..<3, using: &random) > 0 {
                let deadline = now + Int64.random(in: -tick...tick * Int64(slots) * 2, using: &random)
                wheel.add(id, at: Self.origin + .nanoseconds(deadline))
                naive.add(id, at: deadline)
            } else {
                // Mostly small steps, now and then a long stop, now and then a clock that goes back.
                let longest = Int.random(in: 0..<20, using: &random) == 0 ? tick * Int64(slots) * 3 : tick * 3
                now += Int64.random(in: -tick...longest, using: &random)
                #expect(wheel.advance(to: Self.origin + .nanoseconds(now)) == naive.advance(to: now))
            }
            #expect(wheel.count == naive.count)
        }
    }

    @Test(
        "An entry that is filed again when it comes out early fires once, never early, at most a tick late",
        arguments: UInt64(1)...10
    )
    func refiling(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let tick: Int64 = 50
        var wheel = TimerWheel<Int>(startingAt: Self.origin, tick: .nanoseconds(tick), slots: 16)
        let deadlines = (0..<300).map { _ in Int64.random(in: 1...20_000, using: &random) }
        var fired = [Int64?](repeating: nil, count: deadlines.count)
        for (id, deadline) in deadlines.enumerated() { wheel.add(id, at: Self.origin + .nanoseconds(deadline)) }
        for now in stride(from: tick, through: 20_050, by: Int(tick)) {
            for id in wheel.advance(to: Self.origin + .nanoseconds(now)) {
                if deadlines[id] > now {
                    wheel.add(id, at: Self.origin + .nanoseconds(deadlines[id]))
                } else {
                    #expect(fired[id] == nil)
                    fired[id] = now
                }
            }
        }
        #expect(wheel.count == 0)
        for (deadline, time) in zip(deadlines, fired) {
            #expect(time.map { $0 >= deadline && $0 < deadline + tick } == true, "\(deadline): \(time ?? -1)")
        }
    }
}
