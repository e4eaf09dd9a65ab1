import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("A message that arrives in parts")
struct AssemblyWatchTests {
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)
    private let timeout = TimeAmount.seconds(10)
    private func at(_ seconds: Int64) -> NIODeadline { Self.start + .seconds(seconds) }

    private func update(
        _ watch: inout AssemblyWatch,
        _ seconds: Int64,
        isAssembling: Bool = true,
        restarted: Bool = false
    ) -> Bool {
        watch.update(isAssembling: isAssembling, restarted: restarted, timeout: timeout, at: at(seconds))
    }

    @Test("It has so much time from its first part on, whatever else comes")
    func time() {
        var watch = AssemblyWatch()
        let steps = [update(&watch, 0), update(&watch, 5), update(&watch, 9)]
        #expect(steps == [true, false, false])
        let early = watch.isOverdue(at: at(9), isReading: true, timeout: timeout)
        let late = watch.isOverdue(at: at(10), isReading: true, timeout: timeout)
        #expect(!early && late)
        #expect(watch.deadline == nil)
    }

    @Test("The next message has its own time, and a whole one none")
    func next() {
        var watch = AssemblyWatch()
        let steps = [update(&watch, 0), update(&watch, 5, restarted: true)]
        #expect(steps == [true, true])
        #expect(watch.deadline == at(15))
        let isNew = update(&watch, 6, isAssembling: false)
        #expect(!isNew)
        #expect(watch.deadline == nil)
    }

    @Test("While it is us who do not read, it gets the time anew")
    func notReading() {
        var watch = AssemblyWatch()
        _ = update(&watch, 0)
        let isOverdue = watch.isOverdue(at: at(10), isReading: false, timeout: timeout)
        #expect(!isOverdue)
        #expect(watch.deadline == at(20))
    }

    @Test("What its parts hold is in the budget of the process until it is set to nothing")
    func budget() {
        let budget = SharedBudget(limit: 100)
        var watch = AssemblyWatch()
        budget.adjust(by: watch.share.change(to: 60))
        budget.adjust(by: watch.share.change(to: 70))
        #expect(budget.held == 70)
        budget.adjust(by: watch.share.change(to: 0))
        #expect(budget.held == 0)
    }
}
