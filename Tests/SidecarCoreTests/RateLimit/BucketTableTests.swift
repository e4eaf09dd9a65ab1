import Dispatch
import NIOCore
import Synchronization
import Testing

@testable import SidecarCore

@Suite("The table of shared buckets")
struct BucketTableTests {
    private let second: Int64 = 1_000_000_000
    private let limit = GCRA(Rate(10, per: .seconds(1)))

    @Test("all connections of a key share one bucket, other keys have others")
    func sharing() {
        let table = BucketTable<String>(limit)
        let first = table.bucket(for: "alice", now: 0)
        #expect(table.bucket(for: "alice", now: 0) === first)
        #expect(table.bucket(for: "bob", now: 0) !== first)
    }

    @Test("a bucket that somebody holds stays, however long and whatever else comes")
    func held() {
        let table = BucketTable<Int>(limit, stripes: 1)
        let buckets = (0..<100).map { table.bucket(for: $0, now: 0) }
        for key in 1000..<3000 { _ = table.bucket(for: key, now: Int64(key) * second) }
        for (key, bucket) in buckets.enumerated() { #expect(table.bucket(for: key, now: .max) === bucket) }
    }

    @Test("a bucket that nobody holds stays until it is full again, so that coming back wins nothing")
    func debtOutlivesConnection() {
        let table = BucketTable<Int>(limit, stripes: 1)
        for _ in 0..<10 { #expect(table.bucket(for: 1, now: 0).take(now: 0) == .allowed) }
        for key in 2..<50 { _ = table.bucket(for: key, now: second - 1) }
        #expect(table.bucket(for: 1, now: second - 1).remaining(now: second - 1) == 9)
        #expect(table.count < 8)
        for key in 2..<50 { _ = table.bucket(for: key, now: second) }
        #expect(table.count < 8)
        #expect(table.bucket(for: 1, now: second).remaining(now: second) == 10)
    }

    @Test("a hundred thousand keys that come and go leave next to nothing behind")
    func churn() {
        let table = BucketTable<Int>(limit)
        var most = 0
        for key in 0..<100_000 {
            _ = table.bucket(for: key, now: 0)
            if key % 1000 == 0 { most = max(most, table.count) }
        }
        #expect(most <= 256)
    }

    @Test("what is not held is about as much as what is held, at most")
    func bounded() {
        let table = BucketTable<Int>(limit, stripes: 8)
        let held = (0..<1000).map { table.bucket(for: $0, now: 0) }
        for key in 1000..<50_000 { _ = table.bucket(for: key, now: 0) }
        #expect(table.count < held.count * 2 + 100)
    }

    @Test("after a peak the table empties and gives its memory back, whichever key is asked for")
    func afterPeak() {
        let table = BucketTable<Int>(limit)
        var buckets = (0..<20_000).map { table.bucket(for: $0, now: 0) }
        #expect(table.count == 20_000)
        buckets.removeAll()
        // One key alone reaches every stripe, since each access sweeps another stripe too.
        for _ in 0..<20_000 { _ = table.bucket(for: 7, now: second) }
        #expect(table.count <= 2)

        var slots = BucketSlots<Int>()
        buckets = (0..<10_000).map { slots.bucket(for: $0, nil) }
        #expect(slots.capacity >= 10_000)
        slots.sweep(steps: 20_000, now: 0)
        #expect(slots.count == 10_000)
        buckets.removeAll()
        for _ in 0..<10 { slots.sweep(steps: 10_000, now: 0) }
        #expect(slots.count == 0)
        #expect(slots.capacity <= 256)
    }

    @Test("threads that come and go never get more than the burst of a key")
    func threads() {
        let table = BucketTable<Int>(GCRA(Rate(1, per: .seconds(1), burst: 1000)), stripes: 2)
        let granted = (0..<8).map { _ in Count() }
        DispatchQueue.concurrentPerform(iterations: 8) { thread in
            for round in 0..<4_000 {
                let key = (round &* 7 + thread) % 8
                if table.bucket(for: key, now: 0).take(now: 0) == .allowed {
                    granted[key].value.wrappingAdd(1, ordering: .relaxed)
                }
                // Keys that nobody asks for twice keep the sweep busy.
                _ = table.bucket(for: 100 + round * 8 + thread, now: 0)
            }
        }
        for count in granted { #expect(count.value.load(ordering: .relaxed) == 1000) }
        #expect(table.count < 64)
    }

    private final class Count: Sendable {
        let value = Atomic<Int>(0)
    }
}
