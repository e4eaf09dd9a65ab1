import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("Reading a stream")
struct IngestReaderTests {
    private var generator = SeededRandom(seed: 9)
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private var timing: IngestTiming {
        var timing = IngestTiming()
        timing.maxEntries = 4
        timing.batch = 2
        timing.gathering = .zero
        timing.maxBytes = 10_000
        timing.batchBytes = 6_000
        return timing
    }

    /// A reader that has caught up.
    private mutating func live() -> IngestReader {
        var reader = IngestReader(timing)
        reader.begin()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([], .nothing, lastDelivered: nil), at: start, using: &generator)
        return reader
    }

    private func item(_ number: UInt64, _ channel: String = "room") throws -> IngestItem {
        try #require(Items.item(number, channel, at: start))
    }

    @Test("What was taken and not acknowledged is read first, then what is new, and then it waits")
    mutating func phases() throws {
        var reader = IngestReader(timing)
        #expect(reader.next(at: start, isHeld: true) == nil)
        reader.begin()
        #expect(reader.next(at: start, isHeld: true) == .read(after: .zero, count: 2, bytes: 6_000))
        #expect(reader.next(at: start, isHeld: true) == nil)
        reader.answered(.taken([Items.bad(3)], .nothing, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .report(Items.bad(3)))
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(3)]))
        #expect(reader.next(at: start, isHeld: true) == .read(after: Items.id(3), count: 2, bytes: 6_000))
        reader.answered(.taken([], .nothing, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
        reader.answered(.taken([], .nothing, lastDelivered: Items.id(8)), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .wait(after: Items.id(8)))
        reader.waited(true, at: start)
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
    }

    @Test("A message is acknowledged after it is stored, and forgotten when that is known")
    mutating func acknowledging() throws {
        var reader = live()
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
        reader.answered(
            .taken([Items.message(1), Items.message(2)], .nothing, lastDelivered: nil),
            at: start,
            using: &generator
        )
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(1)))
        #expect(reader.next(at: start, isHeld: true) == .wait(after: Items.id(2)))
        #expect(reader.next(at: start, isHeld: true) == nil)
        reader.finished(try item(1), at: start)
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(1)]))
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(2)))
        reader.finished(try item(2), at: start)
        // One batch at a time.
        #expect(reader.next(at: start, isHeld: true) == nil && !reader.isSettled)
        reader.acknowledged(true, at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(2)]))
        reader.acknowledged(true, at: start, using: &generator)
        #expect(reader.isSettled)
    }

    @Test("Acknowledgements that fail are sent again after a pause, together with later ones")
    mutating func failedAcknowledgement() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([Items.bad(1)], .nothing, lastDelivered: nil), at: start, using: &generator)
        _ = reader.next(at: start, isHeld: true)
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(1)]))
        reader.acknowledged(false, at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: false) == nil)
        let due = try #require(reader.nextDue(isHeld: false))
        #expect(due > start)
        #expect(reader.next(at: due, isHeld: false) == .acknowledge([Items.id(1)]))
    }

    @Test("With too many entries unacknowledged, or too many bytes, reading pauses")
    mutating func bounds() throws {
        var reader = live()
        for number: UInt64 in [1, 3] {
            #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
            let entries = [Items.message(number, "a"), Items.message(number + 1, "a")]
            reader.answered(.taken(entries, .perhaps, lastDelivered: nil), at: start, using: &generator)
            if number == 1 { #expect(reader.next(at: start, isHeld: true) == .publish(try item(1, "a"))) }
        }
        #expect(reader.next(at: start, isHeld: true) == nil && reader.nextDue(isHeld: true) == nil)
        reader.finished(try item(1, "a"), at: start)
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(1)]))
        reader.acknowledged(true, at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(2, "a")))
        // There is room for one, and reading is by two.
        #expect(reader.next(at: start, isHeld: true) == nil)
        reader.finished(try item(2, "a"), at: start)
        _ = reader.next(at: start, isHeld: true)
        reader.acknowledged(true, at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(3, "a")))
        guard case .read = reader.next(at: start, isHeld: true) else { return #expect(Bool(false)) }
    }

    @Test("After a read without an answer, what it may have taken is looked for, and what is known left out")
    mutating func lostAnswer() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([Items.message(1)], .perhaps, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(1)))
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
        reader.answered(.failed, at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == nil)
        let due = try #require(reader.nextDue(isHeld: true))
        #expect(due > start && due <= start + .milliseconds(100))
        #expect(reader.next(at: due, isHeld: true) == .read(after: .zero, count: 2, bytes: 6_000))
        reader.answered(
            .taken([Items.message(1), Items.message(2, "b")], .perhaps, lastDelivered: nil),
            at: due,
            using: &generator
        )
        #expect(reader.next(at: due, isHeld: true) == .publish(try #require(Items.item(2, "b", at: due))))
        #expect(reader.next(at: due, isHeld: true) == .read(after: Items.id(2), count: 2, bytes: 6_000))
    }

    @Test("While the engine is away an entry is tried again and again, and nothing is acknowledged")
    mutating func engineAway() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(
            .taken([Items.message(1), Items.message(2)], .nothing, lastDelivered: nil),
            at: start,
            using: &generator
        )
        var now = start
        _ = reader.next(at: now, isHeld: true)
        _ = reader.next(at: now, isHeld: true)
        for _ in 0..<100 {
            reader.postponed(try item(1), at: now, isHeld: true, using: &generator)
            #expect(reader.isDelayed && reader.next(at: now, isHeld: true) == nil)
            let due = try #require(reader.nextDue(isHeld: true))
            #expect(due - now >= .milliseconds(50) && due - now <= .seconds(5))
            now = due
            #expect(reader.next(at: now, isHeld: true) == .publish(try item(1)))
        }
        reader.finished(try item(1), at: start)
        #expect(!reader.isDelayed && reader.next(at: now, isHeld: true) == .acknowledge([Items.id(1)]))
        #expect(reader.next(at: now, isHeld: true) == .publish(try item(2)))
    }

    @Test("Without the lease nothing is read or published, and answers to earlier questions are of no use")
    mutating func leaseLost() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(
            .taken([Items.message(1), Items.message(2)], .perhaps, lastDelivered: nil),
            at: start,
            using: &generator
        )
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(1)))
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
        reader.end()
        #expect(reader.next(at: start, isHeld: false) == nil)
        reader.begin()
        // Not before the earlier question has its answer.
        #expect(reader.next(at: start, isHeld: true) == nil)
        reader.answered(.taken([Items.message(3)], .perhaps, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .read(after: .zero, count: 2, bytes: 6_000))
        // The first is still under way, so that it comes once; the others come again.
        reader.answered(
            .taken([Items.message(1), Items.message(2)], .perhaps, lastDelivered: nil),
            at: start,
            using: &generator
        )
        _ = reader.next(at: start, isHeld: true)
        reader.finished(try item(1), at: start)
        #expect(reader.next(at: start, isHeld: true) == .acknowledge([Items.id(1)]))
        #expect(reader.next(at: start, isHeld: true) == .publish(try item(2)))
    }

    @Test("An entry that fails after the lease is lost is left to the next reader")
    mutating func failureWithoutLease() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([Items.message(1)], .nothing, lastDelivered: nil), at: start, using: &generator)
        _ = reader.next(at: start, isHeld: true)
        reader.end()
        #expect(!reader.isSettled)
        reader.postponed(try item(1), at: start, isHeld: false, using: &generator)
        #expect(reader.isSettled && reader.next(at: start, isHeld: false) == nil)
    }

    @Test("A group that was deleted begins again behind what is done")
    mutating func groupStart() throws {
        var reader = live()
        #expect(reader.groupStart == nil)
        _ = reader.next(at: start, isHeld: true)
        reader.answered(
            .taken([Items.message(5), Items.message(6)], .perhaps, lastDelivered: nil),
            at: start,
            using: &generator
        )
        #expect(reader.groupStart == EntryID(4, .max))
        _ = reader.next(at: start, isHeld: true)
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.groupMissing, at: start, using: &generator)
        #expect(
            reader.groupDue.map { $0 > start } == true && reader.next(at: start + .seconds(60), isHeld: true) == nil
        )
        // What is given up with the lease has to be in the group again.
        reader.end()
        reader.finished(try item(5), at: start)
        _ = reader.next(at: start, isHeld: false)
        reader.acknowledged(true, at: start, using: &generator)
        #expect(reader.groupStart == EntryID(4, .max))
        reader.begin()
        for entries in [[Items.message(6)], []] {
            _ = reader.next(at: start, isHeld: true)
            if !entries.isEmpty { _ = reader.next(at: start, isHeld: true) }
            reader.answered(.taken(entries, .perhaps, lastDelivered: nil), at: start, using: &generator)
        }
        #expect(reader.groupStart != nil)
    }

    @Test("Entries that were taken and had no room in the answer are read next")
    mutating func noRoom() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([Items.message(1)], .taken, lastDelivered: nil), at: start, using: &generator)
        _ = reader.next(at: start, isHeld: true)
        #expect(reader.next(at: start, isHeld: true) == .read(after: Items.id(1), count: 2, bytes: 6_000))
        reader.answered(.taken([], .nothing, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .read(after: nil, count: 2, bytes: 6_000))
    }

    @Test("When the server cannot be asked to wait, reading is by the clock")
    mutating func polling() throws {
        var reader = live()
        _ = reader.next(at: start, isHeld: true)
        reader.answered(.taken([], .nothing, lastDelivered: Items.id(8)), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == .wait(after: Items.id(8)))
        reader.waited(false, at: start)
        #expect(reader.next(at: start, isHeld: true) == nil)
        #expect(reader.nextDue(isHeld: true) == start + timing.polling)
        // Nor does an answer without any id make it spin.
        _ = reader.next(at: start + timing.polling, isHeld: true)
        reader.answered(.taken([], .nothing, lastDelivered: nil), at: start, using: &generator)
        #expect(reader.next(at: start, isHeld: true) == nil && reader.nextDue(isHeld: true) != nil)
    }
}
