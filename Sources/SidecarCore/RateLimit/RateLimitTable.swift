import Synchronization

/// A rate limit for any number of addresses in a fixed amount of memory.
///
/// It is organised like a processor's cache, as an array of sets of 8 entries: an address belongs to one set, chosen by
/// a hash with a secret key, so that nobody can pick addresses of another's set. Every 64th part of the array has its
/// own lock. An entry is 24 bytes, so 65,536 of them take 1.5 MiB, for ten addresses as for ten million.
///
/// An entry whose bucket is full again carries no information and can be replaced. If all 8 of a set are still in use,
/// the one that is closest to being full is dropped, and its address starts again with a whole burst. So errors go one
/// way only: a client that uses more addresses than the table holds, within the time that a burst takes to come back,
/// may get more than the rate, but no address gets less because of others. ``evictions`` counts how often.
public final class RateLimitTable: Sendable {
    private struct Entry {
        var key: AddressKey
        var tat: Int64
    }

    private struct Part: Sendable {
        var entries: [Entry]
        var evictions = 0
    }

    private final class Stripe: Sendable {
        let part: Mutex<Part>

        init(entries: Int) {
            // An empty entry equals that of an address with a full bucket, so it needs no case of its own.
            let empty = Entry(key: AddressKey(high: 0, low: 0), tat: GCRA.full)
            part = Mutex(Part(entries: Array(repeating: empty, count: entries)))
        }
    }

    private static let ways = 8

    /// Entries in all.
    public let capacity: Int

    private let limit: GCRA
    private let hash: KeyedHash
    private let stripes: [Stripe]
    private let setBits: Int
    private let stripeBits: Int

    /// Makes an empty table.
    ///
    /// - Parameters:
    ///   - limit: The limit that each address has for itself.
    ///   - capacity: Entries, rounded up to a power of two from 8 to 16,777,216.
    ///   - seed: 128 secret random bits, drawn anew in each process.
    public init(_ limit: GCRA, capacity: Int = 65_536, seed: (UInt64, UInt64)) {
        var bits = 0
        while bits < 21, Self.ways << bits < capacity { bits += 1 }
        let stripeBits = min(bits, 6)
        self.limit = limit
        self.hash = KeyedHash(key: seed)
        self.capacity = Self.ways << bits
        self.stripeBits = stripeBits
        self.setBits = bits - stripeBits
        let entries = Self.ways << (bits - stripeBits)
        self.stripes = (0..<(1 << stripeBits)).map { _ in Stripe(entries: entries) }
    }

    /// Bytes of all entries; for tests.
    var stateBytes: Int { capacity * MemoryLayout<Entry>.stride }

    /// How many entries were dropped before their bucket was full again, because their set was full; for tests.
    var evictions: Int {
        stripes.reduce(0) { sum, stripe in sum + stripe.part.withLock { $0.evictions } }
    }

    /// Gives an address its whole burst back.
    public func forget(_ key: AddressKey) {
        let (stripe, first) = set(of: key)
        stripe.part.withLock { part in
            for index in first..<first + Self.ways where part.entries[index].key == key {
                part.entries[index].tat = GCRA.full
            }
        }
    }

    /// Takes `cost` tokens of this address if they are there, at `now` in nanoseconds.
    public func take(_ key: AddressKey, cost: Int64 = 1, now: Int64) -> GCRA.Verdict {
        let (stripe, first) = set(of: key)
        return stripe.part.withLock { part in
            var found = first
            var isKnown = false
            for index in first..<first + Self.ways {
                if part.entries[index].key == key {
                    found = index
                    isKnown = true
                    break
                }
                if part.entries[index].tat < part.entries[found].tat { found = index }
            }
            let before = isKnown ? part.entries[found].tat : GCRA.full
            var tat = before
            let verdict = limit.take(cost, tat: &tat, now: now)
            if tat != before {
                if !isKnown, part.entries[found].tat > now { part.evictions += 1 }
                part.entries[found] = Entry(key: key, tat: tat)
            }
            return verdict
        }
    }

    /// What the address has left at `now` in nanoseconds, takes nothing; for tests.
    ///
    /// - Returns: Tokens that remain, and nanoseconds until the bucket is full.
    func standing(of key: AddressKey, now: Int64) -> (remaining: Int64, resetAfter: Int64) {
        let (stripe, first) = set(of: key)
        let tat = stripe.part.withLock { part in
            for index in first..<first + Self.ways where part.entries[index].key == key {
                return part.entries[index].tat
            }
            return GCRA.full
        }
        return (limit.remaining(tat, now: now), limit.resetAfter(tat, now: now))
    }

    /// The stripe of a key, and the first entry of its set there.
    @inline(__always)
    private func set(of key: AddressKey) -> (Stripe, Int) {
        let hash = Int(truncatingIfNeeded: self.hash.hash(key.high, key.low) &>> 1)
        let stripe = hash & ((1 << stripeBits) - 1)
        let set = (hash &>> stripeBits) & ((1 << setBits) - 1)
        return (stripes[stripe], set * Self.ways)
    }
}
