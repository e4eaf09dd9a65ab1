import TestSupport
import Testing

@testable import SidecarCore

extension FairPermits {
    /// Gives a permit back and hands it on.
    mutating func release(_ lane: PermitLane = .events) -> Ticket? {
        giveBack(lane)
        return next()
    }
}

@Suite("Fair permits and the shared budget")
struct FairPermitsTests {
    @Test("Permits are taken up to the capacity, and the next waits", arguments: [1, 2, 64])
    func capacity(capacity: Int) {
        var permits = FairPermits<Int>(capacity: capacity)
        for ticket in 0..<capacity { #expect(permits.acquire(orWaitWith: ticket) == .granted) }
        #expect(permits.inUse == capacity && permits.queueDepth == 0)
        #expect(permits.acquire(orWaitWith: capacity) == .queued)
        #expect(permits.inUse == capacity && permits.queueDepth == 1)
        #expect(permits.release() == capacity)
        #expect(permits.inUse == capacity && permits.queueDepth == 0)
    }

    @Test("A capacity of none or less is one", arguments: [0, -1, Int.min])
    func smallest(capacity: Int) {
        var permits = FairPermits<Int>(capacity: capacity)
        #expect(permits.capacity == 1)
        #expect(permits.acquire(orWaitWith: 1) == .granted)
        #expect(permits.acquire(orWaitWith: 2) == .queued)
    }

    @Test("Whoever asked first is served first, and a busy asker does not overtake")
    func order() {
        var permits = FairPermits<String>(capacity: 1)
        #expect(permits.acquire(orWaitWith: "busy") == .granted)
        for ticket in ["quiet", "busy", "busy", "late"] { #expect(permits.acquire(orWaitWith: ticket) == .queued) }
        #expect(permits.release() == "quiet")
        #expect(permits.acquire(orWaitWith: "busy again") == .queued)
        #expect((0..<6).map { _ in permits.release() } == ["busy", "busy", "late", "busy again", nil, nil])
        #expect(permits.inUse == 0)
    }

    @Test("Giving back what was not taken adds no permit")
    func overRelease() {
        var permits = FairPermits<Int>(capacity: 2)
        for _ in 0..<5 { #expect(permits.release() == nil) }
        #expect(permits.inUse == 0)
        for ticket in 1...2 { #expect(permits.acquire(orWaitWith: ticket) == .granted) }
        #expect(permits.acquire(orWaitWith: 3) == .queued)
    }

    @Test("A ticket is not made for a permit that is free")
    func lazyTicket() {
        var made = 0
        func ticket() -> Int {
            made += 1
            return made
        }
        var permits = FairPermits<Int>(capacity: 1)
        #expect(permits.acquire(orWaitWith: ticket()) == .granted)
        #expect(made == 0)
        #expect(permits.acquire(orWaitWith: ticket()) == .queued)
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
                #expect(permits.acquire(orWaitWith: ticket) == (expected ? .granted : .queued))
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

    @Test("Handshakes hold at most half of the permits, and one where there is one", arguments: [1, 2, 5, 64])
    func handshakeShare(capacity: Int) {
        var permits = FairPermits<Int>(capacity: capacity)
        let share = max(capacity / 2, 1)
        for ticket in 0..<share { #expect(permits.acquire(.handshakes, orWaitWith: ticket) == .granted) }
        #expect(permits.acquire(.handshakes, orWaitWith: 99) == .queued)
        for ticket in share..<capacity { #expect(permits.acquire(orWaitWith: ticket) == .granted) }
        #expect(permits.acquire(orWaitWith: 100) == .queued)
        // A handshake's permit passes on to the event, since it waits; the next one to the handshake.
        #expect(permits.release(.handshakes) == 100)
        #expect(permits.release(.events) == 99)
    }

    @Test("Events don't wait behind a storm of handshakes, and the storm still moves")
    func storm() {
        var permits = FairPermits<String>(capacity: 4)
        for _ in 0..<100 { _ = permits.acquire(.handshakes, orWaitWith: "handshake") }
        #expect(permits.inUse == 2 && permits.waiting(.handshakes) == 98)
        for number in 0..<20 { _ = permits.acquire(orWaitWith: "event \(number)") }
        #expect(permits.inUse == 4)
        // Two events hold permits; those that come free alternate three to one.
        var served: [String?] = []
        for lane in [PermitLane.handshakes, .handshakes, .events, .events] { served.append(permits.release(lane)) }
        #expect(served == ["event 2", "event 3", "event 4", "handshake"])
    }

    @Test("Messages don't wait behind a mass of closes, and handshakes and closes take turns")
    func massOfCloses() {
        var permits = FairPermits<String>(capacity: 4)
        for _ in 0..<100 { _ = permits.acquire(.closes, orWaitWith: "close") }
        #expect(permits.inUse == 2)
        for _ in 0..<100 { _ = permits.acquire(.handshakes, orWaitWith: "handshake") }
        #expect(permits.inUse == 4)
        _ = permits.acquire(orWaitWith: "message")
        let first = permits.release(.closes)
        #expect(first == "message")
        var served: [String?] = []
        for lane in [PermitLane.events, .handshakes, .closes, .handshakes] { served.append(permits.release(lane)) }
        #expect(served.filter { $0 == "close" }.count == 2 && served.filter { $0 == "handshake" }.count == 2)
    }

    @Test("More handshakes than may wait are turned away at once", arguments: [0, 1, 3])
    func fullQueue(limit: Int) {
        var permits = FairPermits<Int>(capacity: 2, maxWaitingHandshakes: limit)
        #expect(permits.acquire(.handshakes, orWaitWith: 0) == .granted)
        for ticket in 0..<limit { #expect(permits.acquire(.handshakes, orWaitWith: ticket) == .queued) }
        #expect(permits.acquire(.handshakes, orWaitWith: 9) == .full)
        #expect(permits.queueDepth == limit)
        #expect(permits.acquire(orWaitWith: 10) == .granted)
    }

    @Test("Whatever the lanes do, no permit is idle while somebody may have it", arguments: UInt64(1)...20)
    func lanes(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let capacity = Int.random(in: 1...6, using: &random)
        let share = max(capacity / 2, 1)
        var permits = FairPermits<PermitLane>(capacity: capacity, maxWaitingHandshakes: 10)
        var held: [PermitLane] = []
        for _ in 0..<1000 {
            if Bool.random(using: &random) {
                let lane: PermitLane = Bool.random(using: &random) ? .events : .handshakes
                if permits.acquire(lane, orWaitWith: lane) == .granted { held.append(lane) }
            } else if !held.isEmpty {
                let back = held.remove(at: Int.random(in: 0..<held.count, using: &random))
                if let next = permits.release(back) { held.append(next) }
            }
            let handshakes = held.filter { $0 == .handshakes }.count
            #expect(permits.inUse == held.count && handshakes <= share)
            if held.count < capacity {
                #expect(permits.queueDepth == permits.waiting(.handshakes))
                #expect(permits.waiting(.handshakes) == 0 || handshakes == share)
            }
        }
    }

    @Test("Who gives up makes room, is passed over, and leaves no memory behind")
    func givingUp() {
        final class Ticket {
            var isAlive = true
        }
        var permits = FairPermits<Ticket>(capacity: 1, maxWaitingHandshakes: 100, isAlive: { $0.isAlive })
        #expect(permits.acquire(orWaitWith: Ticket()) == .granted)
        weak var first: Ticket?
        for round in 0..<1_000 {
            let ticket = Ticket()
            if round == 0 { first = ticket }
            #expect(permits.acquire(.handshakes, orWaitWith: ticket) == .queued)
            ticket.isAlive = false
            permits.gaveUp(.handshakes)
            #expect(permits.queueDepth == 0)
        }
        #expect(first == nil)
        let last = Ticket()
        #expect(permits.acquire(orWaitWith: last) == .queued)
        #expect(permits.release() === last)
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
