import NIOCore
import SidecarCore
import Testing

@Suite("Drain schedule")
struct DrainScheduleTests {
    private static let start = NIODeadline.uptimeNanoseconds(5_000_000_000)
    private func at(_ milliseconds: Int64) -> NIODeadline { Self.start + .milliseconds(milliseconds) }

    @Test("One alone goes at once, none is over from the start")
    func few() {
        var one = DrainSchedule(total: 1, startedAt: Self.start, span: .seconds(10))
        #expect(one.take(at: at(0)) == 1)
        #expect(one.isOver)
        #expect(DrainSchedule(total: 0, startedAt: Self.start, span: .seconds(10)).isOver)
        var negative = DrainSchedule(total: -5, startedAt: Self.start, span: .seconds(-1))
        #expect(negative.isOver && negative.take(at: at(1)) == 0)
    }

    @Test("Two halves of the time see two halves of the connections")
    func even() {
        var schedule = DrainSchedule(total: 1000, startedAt: Self.start, span: .seconds(10))
        var taken = 0
        for step in 0...500 { taken += schedule.take(at: at(Int64(step) * 10)) }
        #expect((500...501).contains(taken))
        for step in 501...999 { taken += schedule.take(at: at(Int64(step) * 10)) }
        #expect(taken == 1000 && schedule.isOver)
        #expect(schedule.take(at: at(20_000)) == 0)
    }

    @Test("Looking often or rarely comes to the same, and a clock that stands still hands out nothing more")
    func steps() {
        var schedule = DrainSchedule(total: 10, startedAt: Self.start, span: .seconds(10))
        #expect(schedule.take(at: at(-1_000)) == 1)
        #expect(schedule.take(at: at(0)) == 0)
        #expect(schedule.take(at: at(4_999)) == 4)
        #expect(schedule.take(at: at(4_999)) == 0)
        #expect(schedule.take(at: at(10_000)) == 5)
    }

    @Test("Each connection takes 10 ms of the time at most, and all together no more than there is")
    func spans() {
        #expect(DrainSchedule.span(connections: 0, atMost: .seconds(24)) == .zero)
        #expect(DrainSchedule.span(connections: -1, atMost: .seconds(24)) == .zero)
        #expect(DrainSchedule.span(connections: 3, atMost: .seconds(24)) == .milliseconds(30))
        #expect(DrainSchedule.span(connections: 2_399, atMost: .seconds(24)) == .milliseconds(23_990))
        #expect(DrainSchedule.span(connections: 2_401, atMost: .seconds(24)) == .seconds(24))
        #expect(DrainSchedule.span(connections: .max, atMost: .seconds(24)) == .seconds(24))
    }

    @Test("Without a span all go at once")
    func noSpan() {
        var schedule = DrainSchedule(total: 7, startedAt: Self.start, span: .zero)
        #expect(schedule.take(at: at(0)) == 7)
    }
}
