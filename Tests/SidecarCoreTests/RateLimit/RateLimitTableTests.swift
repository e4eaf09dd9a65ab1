import Dispatch
import NIOCore
import Synchronization
import Testing

@testable import SidecarCore

@Suite("The table of rate-limited addresses")
struct RateLimitTableTests {
    private let second: Int64 = 1_000_000_000
    private let limit = GCRA(Rate(20, per: .seconds(1), burst: 40))

    private func key(_ number: Int) -> AddressKey {
        AddressKey(high: UInt64(number), low: 0)
    }

    @Test("each address has the whole burst for itself, and not one more")
    func limits() {
        let table = RateLimitTable(limit, seed: (1, 2))
        for address in 0..<100 {
            for _ in 0..<39 { #expect(table.take(key(address), now: 0) == .allowed) }
            #expect(table.standing(of: key(address), now: 0).remaining == 1)
            #expect(table.take(key(address), now: 0) == .allowed)
            #expect(table.standing(of: key(address), now: 0) == (0, 2 * second))
            #expect(table.take(key(address), now: 0) == .limited(retryAfter: 50_000_000))
        }
        #expect(table.evictions == 0)
        for address in 0..<100 { #expect(table.take(key(address), now: 50_000_000) == .allowed) }
    }

    @Test("both halves of the key count")
    func halves() {
        let table = RateLimitTable(GCRA(Rate(1, per: .seconds(1))), seed: (1, 2))
        #expect(table.take(AddressKey(high: 1, low: 2), now: 0) == .allowed)
        #expect(table.take(AddressKey(high: 1, low: 3), now: 0) == .allowed)
        #expect(table.take(AddressKey(high: 2, low: 1), now: 0) == .allowed)
        #expect(table.take(AddressKey(high: 1, low: 2), now: 0) != .allowed)
        #expect(table.take(AddressKey(high: 0, low: 0), now: 0) == .allowed)
        #expect(table.take(AddressKey(high: 0, low: 0), now: 0) != .allowed)
    }

    @Test("an address that was never seen has a full bucket")
    func unseen() {
        let table = RateLimitTable(limit, seed: (1, 2))
        for now in [Int64.min, 0, .max] { #expect(table.standing(of: key(1), now: now) == (40, 0)) }
        #expect(table.take(key(1), cost: 41, now: 0) == .limited(retryAfter: .max))
        #expect(table.take(key(1), cost: 0, now: 0) == .allowed)
        #expect(table.standing(of: key(1), now: 0) == (40, 0))
    }

    @Test("a full set forgets the address that is closest to a full bucket, and no other")
    func eviction() {
        // One set of 8; address 3 has taken least.
        let table = RateLimitTable(limit, capacity: 8, seed: (1, 2))
        for address in 0..<8 {
            #expect(table.take(key(address), cost: address == 3 ? 5 : Int64(10 + address), now: 0) == .allowed)
        }
        #expect(table.evictions == 0)
        #expect(table.take(key(8), cost: 30, now: 0) == .allowed)
        #expect(table.evictions == 1)
        #expect(table.standing(of: key(3), now: 0).remaining == 40)
        #expect(table.standing(of: key(8), now: 0).remaining == 10)
        for address in [0, 1, 2, 4, 5, 6, 7] {
            #expect(table.standing(of: key(address), now: 0).remaining == Int64(30 - address))
        }
    }

    @Test("addresses whose buckets are full again make room for others")
    func expiry() {
        let table = RateLimitTable(limit, capacity: 8, seed: (1, 2))
        for round in 0..<100 {
            for address in 0..<8 {
                #expect(table.take(key(round * 8 + address), cost: 40, now: Int64(round) * 2 * second) == .allowed)
            }
        }
        #expect(table.evictions == 0)
        #expect(table.take(key(800), now: 199 * second) == .allowed)
        #expect(table.evictions == 1)
    }

    @Test("the capacity is the next power of two within its range")
    func capacities() {
        for (wanted, made) in [(Int.min, 8), (0, 8), (8, 8), (9, 16), (64, 64), (1000, 1024), (65_536, 65_536)] {
            let table = RateLimitTable(limit, capacity: wanted, seed: (1, 2))
            #expect(table.capacity == made)
            #expect(table.stateBytes == made * 24)
            for address in 0..<20 { #expect(table.take(key(address), now: 0) == .allowed) }
        }
    }

    @Test("a flood of addresses takes no memory and never refuses an address that comes for the first time")
    func flood() {
        let table = RateLimitTable(limit, seed: (3, 4))
        #expect(table.stateBytes == 1_572_864)
        var refused = 0
        for address in 0..<1_000_000 where table.take(key(address), now: Int64(address)) != .allowed { refused += 1 }
        #expect(refused == 0)
        // What fits is kept: up to 65,536 addresses of the million.
        #expect((934_464...940_000).contains(table.evictions))
        #expect(table.stateBytes == 1_572_864)
    }

    @Test("an address that keeps knocking is held to its rate in the midst of a flood")
    func knockingInFlood() {
        let table = RateLimitTable(limit, seed: (5, 6))
        let knocker = AddressKey(high: 7, low: 7)
        var granted = 0
        // A second in which 100,000 others come once, and this one 1,000 times.
        for step in 0..<100_000 {
            let now = Int64(step) * 10_000
            _ = table.take(AddressKey(high: UInt64(step), low: 1), now: now)
            if step % 100 == 0, table.take(knocker, now: now) == .allowed { granted += 1 }
        }
        #expect(granted == 40 + 19)
    }

    @Test("threads together get the whole burst of each address, and not one token more")
    func threads() {
        let table = RateLimitTable(GCRA(Rate(1, per: .seconds(1), burst: 100)), capacity: 1024, seed: (7, 8))
        let granted = Atomic<Int>(0)
        DispatchQueue.concurrentPerform(iterations: 8) { _ in
            for round in 0..<3_000 where table.take(AddressKey(high: 0, low: UInt64(round % 10)), now: 0) == .allowed {
                granted.wrappingAdd(1, ordering: .relaxed)
            }
        }
        #expect(granted.load(ordering: .relaxed) == 1000)
    }
}

@Suite("The keyed hash")
struct KeyedHashTests {
    private let key: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0F0E_0D0C_0B0A_0908)

    @Test("it is SipHash-2-4: the reference vector of 16 bytes, and one that OpenSSL made")
    func vectors() {
        #expect(KeyedHash(key: key).hash(0x4847_4645_4443_4241, 0x504F_4E4D_4C4B_4A49) == 0xBC20_4B28_74F6_F605)
        #expect(KeyedHash(key: key).hash(key.0, key.1) == 0x3F2A_CC7F_57C2_9BDB)
    }

    @Test("it depends on each half of the key and of the message")
    func depends() {
        let hash = KeyedHash(key: key).hash(1, 2)
        #expect(KeyedHash(key: key).hash(2, 1) != hash)
        #expect(KeyedHash(key: (key.0 ^ 1, key.1)).hash(1, 2) != hash)
        #expect(KeyedHash(key: (key.0, key.1 ^ 1)).hash(1, 2) != hash)
        #expect(KeyedHash(key: key).hash(1, 2) == hash)
    }
}
