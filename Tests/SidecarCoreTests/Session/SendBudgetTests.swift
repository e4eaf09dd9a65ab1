import Dispatch
import Testing

@testable import SidecarCore

@Suite("What all clients together leave unread")
struct SendBudgetTests {
    /// A budget with connections that hold so many bytes each.
    private func budget(of limit: Int, _ holding: [Int]) -> SendBudget {
        let budget = SendBudget(limit: limit)
        for bytes in holding { budget.change(from: 0, to: bytes) }
        return budget
    }

    @Test("bytes and those who hold any are counted, and nothing is left when all is gone")
    func counts() {
        let budget = budget(of: 100, [10, 20])
        budget.change(from: 10, to: 15)
        budget.change(from: 20, to: 20)
        #expect(budget.held == 35)
        #expect(budget.holders == 2)
        budget.change(from: 15, to: 0)
        budget.change(from: 20, to: 0)
        budget.change(from: 0, to: 0)
        #expect(budget.held == 0)
        #expect(budget.holders == 0)
    }

    @Test("it is exceeded above its limit, not at it", arguments: [(99, false), (100, false), (101, true)])
    func exceeded(bytes: Int, isExceeded: Bool) {
        #expect(budget(of: 100, [bytes]).isExceeded == isExceeded)
    }

    @Test("room is made until a sixteenth of it is free", arguments: [(150, false), (151, true)])
    func tight(bytes: Int, isTight: Bool) {
        #expect(budget(of: 160, [bytes]).isTight == isTight)
        #expect(!budget(of: .max, [bytes]).isTight)
    }

    @Test("the share is what each could hold if all held the same")
    func share() {
        #expect(budget(of: 100, []).share == 100)
        #expect(budget(of: 100, [1, 1, 50]).share == 33)
        #expect(budget(of: 2, [1, 1, 1]).share == 0)
    }

    @Test("one connection may hold its own limit while the total has room, then its share", arguments: 39...41)
    func allowance(byteCount: Int) {
        let budget = budget(of: 100, [10, 50])
        let expected = byteCount <= 40 ? 80 : 50
        #expect(budget.allowance(upTo: 80, adding: byteCount) == expected)
        #expect(budget.allowance(upTo: 30, adding: byteCount) == 30)
    }

    @Test("without a limit nothing exceeds it and the share is no limit either")
    func unlimited() {
        let budget = budget(of: .max, [1 << 60, 1 << 60])
        #expect(!budget.isExceeded)
        #expect(budget.allowance(upTo: 80, adding: 1 << 40) == 80)
    }

    @Test("what is larger than the whole limit exceeds it")
    func larger() {
        #expect(budget(of: 100, []).allowance(upTo: 500, adding: 101) == 100)
    }

    @Test("event loops together lose no byte")
    func threads() {
        let budget = SendBudget(limit: 1_000)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for round in 1...5_000 {
                budget.change(from: 0, to: round)
                budget.change(from: round, to: round / 2)
                budget.change(from: round / 2, to: 0)
            }
        }
        #expect(budget.held == 0)
        #expect(budget.holders == 0)
    }
}
