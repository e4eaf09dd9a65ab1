import Dispatch
import NIOCore
import Synchronization
import Testing

@testable import SidecarCore

@Suite("A bucket that event loops share")
struct SharedBucketTests {
    @Test("it says what the algorithm says")
    func sameAsValue() {
        let gcra = GCRA(Rate(10, per: .seconds(1), burst: 3))
        let bucket = SharedBucket(gcra)
        var tat = GCRA.full
        var random = RepeatableRandom(seed: 4)
        var now: Int64 = 0
        for _ in 0..<2_000 {
            now += .random(in: 0...200_000_000, using: &random)
            let cost = Int64.random(in: 0...4, using: &random)
            if Bool.random(using: &random) {
                #expect(bucket.take(cost, now: now) == gcra.take(cost, tat: &tat, now: now))
            } else {
                #expect(bucket.takeInDebt(cost, now: now) == gcra.takeInDebt(cost, tat: &tat, now: now))
            }
            #expect(bucket.remaining(now: now) == gcra.remaining(tat, now: now))
            #expect(bucket.resetAfter(now: now) == gcra.resetAfter(tat, now: now))
        }
    }

    @Test("without a rate it refuses nothing")
    func noRate() {
        let bucket = SharedBucket()
        #expect(bucket.take(.max, now: 0) == .allowed)
        #expect(bucket.takeInDebt(.max, now: 0) == 0)
        #expect(bucket.remaining(now: 0) == .max)
        #expect(bucket.resetAfter(now: 0) == 0)
    }

    @Test("threads together get the whole burst and not one token more while the clock stands")
    func threadsAtOneMoment() {
        let bucket = SharedBucket(GCRA(Rate(1000, per: .seconds(1), burst: 12_345)))
        let granted = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<3_000 where bucket.take(now: 77) == .allowed {
                granted.wrappingAdd(1, ordering: .relaxed)
            }
        }
        #expect(granted.load(ordering: .relaxed) == 12_345)
    }

    @Test("threads together get the burst and what time brings, whatever the order of their clocks")
    func threadsOverTime() {
        let bucket = SharedBucket(GCRA(Rate(1_000_000, per: .seconds(1), burst: 500)))
        let clock = Atomic<Int64>(0)
        let granted = Atomic<Int64>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<5_000 {
                let now = clock.wrappingAdd(300, ordering: .relaxed).newValue
                if bucket.take(now: now) == .allowed { granted.wrappingAdd(1, ordering: .relaxed) }
            }
        }
        let allowed = 500 + clock.load(ordering: .relaxed) / 1000
        let total = granted.load(ordering: .relaxed)
        #expect(total <= allowed)
        #expect(total > allowed - 600)
    }

    @Test("no debt of any thread is lost")
    func threadsInDebt() {
        let bucket = SharedBucket(GCRA(Rate(1000, per: .seconds(1), burst: 1)))
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for _ in 0..<2_000 { _ = bucket.takeInDebt(2, now: 0) }
        }
        #expect(bucket.resetAfter(now: 0) == 32_000 * 1_000_000)
    }

    @Test("connections are counted up to the limit, and a closed one makes room", arguments: [0, 1, 2, 100])
    func connections(limit: Int) {
        let bucket = SharedBucket()
        for _ in 0..<limit { #expect(bucket.tryOpen(limit: limit)) }
        #expect(!bucket.tryOpen(limit: limit))
        #expect(bucket.connections == limit)
        bucket.close()
        #expect(bucket.connections == max(limit - 1, 0))
        #expect(bucket.tryOpen(limit: limit) == (limit > 0))
        #expect(bucket.tryOpen(limit: .max))
    }

    @Test("threads together never open more connections than the limit")
    func threadsOpen() {
        let bucket = SharedBucket()
        let most = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            var held = 0
            for round in 0..<20_000 {
                if round % 3 != 2 {
                    if bucket.tryOpen(limit: 10) { held += 1 }
                } else if held > 0 {
                    bucket.close()
                    held -= 1
                }
                most.max(bucket.connections, ordering: .relaxed)
            }
            for _ in 0..<held { bucket.close() }
        }
        #expect(most.load(ordering: .relaxed) <= 10)
        #expect(bucket.connections == 0)
    }

    @Test("shared by several nodes, each gets its part of the burst and of the rate, but at least one token")
    func parts() {
        let limit = GCRA(Rate(10, per: .seconds(1), burst: 10))
        for (parts, most) in [(1, 10), (2, 5), (3, 3), (10, 1), (1000, 1)] {
            let bucket = SharedBucket(limit)
            bucket.share(among: parts)
            #expect((0..<20).count { _ in bucket.take(bucket.messageCost, now: 0) == .allowed } == most)
            #expect(bucket.take(bucket.messageCost, now: 1_000_000_000) == .allowed)
        }
        let bucket = SharedBucket(limit)
        bucket.share(among: 10)
        bucket.share(among: 1)
        #expect((0..<20).count { _ in bucket.take(bucket.messageCost, now: 0) == .allowed } == 10)
        let unlimited = SharedBucket()
        unlimited.share(among: 3)
        #expect(unlimited.take(unlimited.messageCost, now: 0) == .allowed)
    }
}
