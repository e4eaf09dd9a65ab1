import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("Acknowledgements in batches")
struct AcknowledgementsTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func make() -> Acknowledgements {
        Acknowledgements(batch: 3, gathering: .milliseconds(2), pauses: .milliseconds(50) ... .seconds(5))
    }

    @Test("A batch waits a little for others, unless it is full")
    func gathering() {
        var batches = make()
        batches.add(Items.id(1), at: start)
        batches.add(Items.id(2), at: start + .milliseconds(1))
        #expect(batches.next(at: start + .milliseconds(1)) == nil && batches.nextDue == start + .milliseconds(2))
        #expect(batches.next(at: start + .milliseconds(2)) == [1, 2].map(Items.id))
        for number: UInt64 in 3...6 { batches.add(Items.id(number), at: start + .milliseconds(3)) }
        // One batch at a time.
        #expect(batches.next(at: start + .milliseconds(9)) == nil && batches.nextDue == nil)
        #expect(batches.succeeded() == [1, 2].map(Items.id))
        #expect(batches.next(at: start + .milliseconds(3)) == [3, 4, 5].map(Items.id))
        #expect(batches.succeeded().count == 3 && !batches.isEmpty)
        #expect(batches.next(at: start + .milliseconds(5)) == [Items.id(6)])
        #expect(batches.succeeded() == [Items.id(6)] && batches.isEmpty)
    }

    @Test("After a failure a full batch waits, too, and the order stays")
    func failure() throws {
        var generator = SeededRandom(seed: 4)
        var batches = make()
        for number: UInt64 in 1...2 { batches.add(Items.id(number), at: start) }
        _ = batches.next(at: start + .milliseconds(2))
        batches.failed(at: start + .milliseconds(2), using: &generator)
        for number: UInt64 in 3...4 { batches.add(Items.id(number), at: start + .milliseconds(3)) }
        let due = try #require(batches.nextDue)
        #expect(due >= start + .milliseconds(52) && batches.next(at: start + .milliseconds(51)) == nil)
        #expect(batches.next(at: due) == [1, 2, 3].map(Items.id))
    }
}
