import NIOCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite("Entries that wait for the target")
struct IngestLanesTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    private func lanes(_ entries: [(UInt64, String)]) throws -> IngestLanes {
        var lanes = IngestLanes(pauses: .milliseconds(50) ... .seconds(5))
        for (number, channel) in entries { lanes.append(try #require(Items.item(number, channel, at: start))) }
        return lanes
    }

    @Test("One entry of each channel is under way at a time, in order")
    func order() throws {
        var lanes = try lanes([(1, "a"), (2, "a"), (3, "b"), (4, "a")])
        #expect(lanes.next(at: start)?.id == Items.id(1))
        #expect(lanes.next(at: start)?.id == Items.id(3))
        #expect(lanes.next(at: start) == nil && lanes.underWay == 2)
        lanes.finished("a")
        #expect(lanes.next(at: start)?.id == Items.id(2))
        lanes.finished("b")
        lanes.finished("a")
        #expect(lanes.next(at: start)?.id == Items.id(4))
        lanes.finished("a")
        #expect(lanes.next(at: start) == nil && lanes.underWay == 0 && lanes.bytes == 0)
    }

    @Test("A channel whose entry has failed waits, and the others go on")
    func failure() throws {
        var generator = SeededRandom(seed: 5)
        var lanes = try lanes([(1, "a"), (2, "a"), (3, "b")])
        _ = lanes.next(at: start)
        lanes.failed("a", at: start, using: &generator)
        #expect(lanes.isDelayed && lanes.next(at: start)?.id == Items.id(3))
        let due = try #require(lanes.nextDue)
        #expect(due >= start + .milliseconds(50) && due <= start + .milliseconds(100))
        #expect(lanes.next(at: due - .nanoseconds(1)) == nil)
        #expect(lanes.next(at: due)?.id == Items.id(1))
        // It has not succeeded yet.
        #expect(lanes.isDelayed && lanes.nextDue == nil)
        lanes.finished("a")
        #expect(!lanes.isDelayed && lanes.next(at: due)?.id == Items.id(2))
    }

    @Test("Giving up keeps what is under way")
    func giveUp() throws {
        var generator = SeededRandom(seed: 5)
        var lanes = try lanes([(1, "a"), (2, "a"), (3, "b"), (4, "c")])
        for _ in 0..<2 { _ = lanes.next(at: start) }
        lanes.failed("b", at: start, using: &generator)
        #expect(lanes.dropWaiting().sorted() == [2, 3, 4].map(Items.id))
        #expect(lanes.underWay == 1 && lanes.next(at: start + .seconds(60)) == nil && !lanes.isDelayed)
        lanes.append(try #require(Items.item(5, "a", at: start)))
        #expect(lanes.next(at: start) == nil)
        lanes.finished("a")
        #expect(lanes.next(at: start)?.id == Items.id(5))
    }

    @Test("Results that nobody waits for change nothing")
    func strangers() throws {
        var generator = SeededRandom(seed: 5)
        var lanes = try lanes([(1, "a")])
        lanes.finished("a")
        lanes.failed("a", at: start, using: &generator)
        lanes.finished("x")
        #expect(lanes.next(at: start)?.id == Items.id(1) && lanes.underWay == 1)
    }
}
