import NIOCore
import TestSupport
import Testing

@testable import RedisClient

@Suite("Pending queue")
struct PendingQueueTests {
    private func at(_ milliseconds: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .milliseconds(milliseconds) }

    private func pop(_ queue: inout PendingQueue<Int>) -> String {
        switch queue.popFirst() {
        case nil: "none"
        case .late: "late"
        case .element(let element): "\(element)"
        }
    }

    @Test("An element that expires keeps its place for the late reply")
    func keepsPlaces() {
        var queue = PendingQueue<Int>(keepsPlaces: true)
        queue.append(1, bytes: 10, deadline: at(100))
        queue.append(2, bytes: 20, deadline: at(50))
        queue.append(3, bytes: 30)
        #expect(queue.nextDeadline() == at(50))
        #expect(queue.expire(at: at(49)) == [])
        #expect(queue.expire(at: at(50)) == [2])
        #expect(queue.nextDeadline() == at(100))
        #expect(queue.count == 3 && queue.liveCount == 2 && queue.bytes == 60)
        #expect(pop(&queue) == "1")
        #expect(pop(&queue) == "late")
        #expect(queue.bytes == 30 && queue.nextDeadline() == nil)
        #expect(pop(&queue) == "3")
        #expect(pop(&queue) == "none")
        #expect(queue.firstNumber == 3 && queue.nextNumber == 3 && queue.bytes == 0)
    }

    @Test("An element that only waits leaves with its bytes when it expires")
    func leavesNoPlace() {
        var queue = PendingQueue<Int>(keepsPlaces: false)
        queue.append(1, bytes: 10, deadline: at(10))
        queue.append(2, bytes: 20, deadline: at(30))
        queue.append(3, bytes: 40, deadline: at(20))
        #expect(queue.expire(at: at(20)) == [1, 3])
        #expect(queue.bytes == 20 && queue.liveCount == 1)
        #expect(queue.popFirstLive() == 2)
        #expect(queue.popFirstLive() == nil)
        #expect(queue.bytes == 0)
    }

    @Test("Any mixture of deadlines behaves like a plain list", arguments: [true, false])
    func model(keepsPlaces: Bool) {
        var dice = SeededRandom(seed: keepsPlaces ? 1 : 2)
        var queue = PendingQueue<Int>(keepsPlaces: keepsPlaces)
        var model: [(element: Int, deadline: NIODeadline?)] = []
        var now: Int64 = 0
        for element in 0..<20_000 {
            switch Int.random(in: 0..<5, using: &dice) {
            case 0, 1:
                // Mostly one timeout, sometimes another.
                let timeout = Int.random(in: 0..<4, using: &dice) == 0 ? Int64.random(in: 1...300, using: &dice) : 100
                let deadline = Int.random(in: 0..<9, using: &dice) == 0 ? nil : at(now + timeout)
                queue.append(element, bytes: 1, deadline: deadline)
                model.append((element, deadline))
            case 2, 3:
                if keepsPlaces {
                    let expected = model.isEmpty ? "none" : model[0].element < 0 ? "late" : "\(model[0].element)"
                    if !model.isEmpty { model.removeFirst() }
                    #expect(pop(&queue) == expected)
                } else {
                    let expected = model.first?.element
                    if !model.isEmpty { model.removeFirst() }
                    #expect(queue.popFirstLive() == expected)
                }
            default:
                now += Int64.random(in: 0...60, using: &dice)
                let expired = queue.expire(at: at(now))
                let due = model.filter { entry in entry.element >= 0 && entry.deadline.map { $0 <= at(now) } == true }
                #expect(Set(expired) == Set(due.map(\.element)))
                if keepsPlaces {
                    model = model.map { due.map(\.element).contains($0.element) ? (-1, nil) : $0 }
                } else {
                    model.removeAll { due.map(\.element).contains($0.element) }
                }
            }
            #expect(queue.liveCount == model.count { $0.element >= 0 })
            #expect(
                queue.nextDeadline() == model.compactMap { $0.element < 0 ? nil : $0.deadline }.min() || keepsPlaces
            )
            #expect(queue.bytes == model.count)
        }
    }

    @Test("Deadlines out of order do not pile up when their elements have gone")
    func heapIsBounded() {
        var queue = PendingQueue<Int>(keepsPlaces: true)
        queue.append(0, deadline: at(1_000_000))
        for element in 1..<100_000 {
            queue.append(element, deadline: at(500_000 - Int64(element)))
            _ = queue.popFirst()
        }
        #expect(queue.count == 1)
        #expect(queue.keptDeadlines < 1_000)
    }
}

@Suite("Back-off")
struct BackoffTests {
    @Test("Pauses are random, within bounds that double up to the last")
    func pauses() {
        var dice = SeededRandom(seed: 3)
        var longest: [Int64] = Array(repeating: 0, count: 10)
        for _ in 0..<2_000 {
            var backoff = Backoff(.milliseconds(50) ... .seconds(5))
            for attempt in 0..<10 {
                let pause = backoff.next(using: &dice).nanoseconds
                #expect(pause >= 50_000_000 && pause <= min(5_000_000_000, 100_000_000 << Int64(attempt)))
                longest[attempt] = max(longest[attempt], pause)
            }
        }
        #expect(longest[0] > 95_000_000 && longest[3] > 700_000_000 && longest[9] > 4_800_000_000)
    }

    @Test("It begins anew after a success, and nonsense bounds do no harm")
    func reset() {
        var dice = SeededRandom(seed: 4)
        var backoff = Backoff(.milliseconds(1) ... .seconds(5))
        for _ in 0..<100 { _ = backoff.next(using: &dice) }
        backoff.reset()
        #expect(backoff.next(using: &dice) <= .milliseconds(2))
        var odd = Backoff(.nanoseconds(-5) ... .nanoseconds(.max))
        for _ in 0..<100 { #expect(odd.next(using: &dice).nanoseconds >= 1) }
    }
}
