import SidecarCore
import Testing

@Suite("Fair permits and the shared budget")
struct FairPermitsTests {
    @Test("Permits are taken up to the capacity, and the next waits", arguments: [1, 2, 64])
    func capacity(capacity: Int) {
        var permits = FairPermits<Int>(capacity: capacity)
        for ticket in 0..<capacity { #expect(permits.acquire(orWaitWith: ticket) == true) }
        #expect(permits.inUse == capacity && permits.queueDepth == 0)
        #expect(permits.acquire(orWaitWith: capacity) == false)
        #expect(permits.inUse == capacity && permits.queueDepth == 1)
        #expect(permits.release() == capacity)
        #expect(permits.inUse == capacity && permits.queueDepth == 0)
    }

    @Test("A capacity of none or less is one", arguments: [0, -1, Int.min])
    func smallest(capacity: Int) {
        var permits = FairPermits<Int>(capacity: capacity)
        #expect(permits.capacity == 1)
        #expect(permits.acquire(orWaitWith: 1) == true)
        #expect(permits.acquire(orWaitWith: 2) == false)
    }

    @Test("Whoever asked first is served first, and a busy asker does not overtake")
    func order() {
        var permits = FairPermits<String>(capacity: 1)
        #expect(permits.acquire(orWaitWith: "busy") == true)
        for ticket in ["quiet", "busy", "busy", "late"] { #expect(permits.acquire(orWaitWith: ticket) == false) }
        #expect(permits.release() == "quiet")
        #expect(permits.acquire(orWaitWith: "busy again") == false)
        #expect((0..<6).map { _ in permits.release() } == ["busy", "busy", "late", "busy again", nil, nil])
        #expect(permits.inUse == 0)
    }

    @Test("Giving back what was not taken adds no permit")
    func overRelease() {
        var permits = FairPermits<Int>(capacity: 2)
        for _ in 0..<5 { #expect(permits.release() == nil) }
        #expect(permits.inUse == 0)
        for ticket in 1...2 { #expect(permits.acquire(orWaitWith: ticket) == true) }
        #expect(permits.acquire(orWaitWith: 3) == false)
    }

    @Test("A ticket is not made for a permit that is free")
    func lazyTicket() {
        var made = 0
        func ticket() -> Int {
            made += 1
            return made
        }
        var permits = FairPermits<Int>(capacity: 1)
        #expect(permits.acquire(orWaitWith: ticket()) == true)
        #expect(made == 0)
        #expect(permits.acquire(orWaitWith: ticket()) == false)
        #expect(made == 1)
    }

    @Test("Random use agrees with a plain queue, and no permit is idle while somebody waits", arguments: UInt64(1)...20)
    func model(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let capacity = Int.random(in: 1...5, using: &random)
        var permits = FairPermits<Int>(capacity: capacity)
        var held = 0
        var queue: [Int] = []
        for ticket in 0..<500 {
            if Bool.random(using: &random) {
                let expected = held < capacity
                #expect(permits.acquire(orWaitWith: ticket) == expected)
                if expected { held += 1 } else { queue.append(ticket) }
            } else if held > 0 {
                let expected = queue.isEmpty ? nil : queue.removeFirst()
                #expect(permits.release() == expected)
                if expected == nil { held -= 1 }
            }
            #expect(permits.inUse == held && permits.queueDepth == queue.count)
            #expect(queue.isEmpty || permits.inUse == capacity)
        }
    }

    @Test("A budget is spent at its limit, not one byte before")
    func budgetLimit() {
        let budget = SharedBudget(limit: 100)
        budget.adjust(by: 99)
        #expect(!budget.isSpent && budget.held == 99)
        budget.adjust(by: 1)
        #expect(budget.isSpent)
        budget.adjust(by: 1)
        #expect(budget.isSpent && budget.held == 101)
        budget.adjust(by: 0)
        budget.adjust(by: -2)
        #expect(!budget.isSpent && budget.held == 99)
    }

    @Test("A budget of nothing is always spent, and one without limit never")
    func extremeBudgets() {
        #expect(SharedBudget(limit: 0).isSpent)
        let unlimited = SharedBudget(limit: .max)
        unlimited.adjust(by: .max - 1)
        #expect(!unlimited.isSpent)
    }

    @Test("What many threads add and give back sums up to nothing")
    func concurrentBudget() async {
        let budget = SharedBudget(limit: 1000)
        await withTaskGroup(of: Void.self) { group in
            for worker in 1...8 {
                group.addTask {
                    for _ in 0..<2000 {
                        budget.adjust(by: worker)
                        budget.adjust(by: -worker)
                    }
                }
            }
        }
        #expect(budget.held == 0)
    }
}
