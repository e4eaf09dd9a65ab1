import Synchronization

/// A rate limit for any number of addresses in memory that never grows.
///
/// It is an array of sets of 8 entries, as a processor's cache is: an address can lie in one set only, chosen by a
/// hash whose key is secret, so that nobody can aim at the set of another. Every 64th part of the array has its own
/// lock. An entry is 24 bytes, so 65,536 of them take 1.5 MiB, for ten addresses as for ten million.
///
/// An entry whose bucket is full again says nothing and makes room for another. If all 8 of a set are still in use,
/// the one that is closest to being full is forgotten, and its address starts afresh with a whole burst. So the
/// table errs to one side only: who floods it from more addresses than it holds, within the time that a burst takes
/// to come back, may get more than the rate, but never does an address get less because of others.
/// ``evictions`` counts how often.
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
            // An empty entry is that of an address with a full bucket: no case of its own.
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
    ///   - seed: 128 random bits, made anew in each process and shown to nobody.
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

    /// Bytes of all entries.
    public var stateBytes: Int { capacity * MemoryLayout<Entry>.stride }

    /// How many entries were forgotten before their time because their set was full.
    public var evictions: Int {
        stripes.reduce(0) { sum, stripe in sum + stripe.part.withLock { $0.evictions } }
    }

    /// Gives an address its whole burst back.
    public func forget(_ key: AddressKey) {
        let (stripe, first) = place(of: key)
        stripe.part.withLock { part in
            for index in first..<first + Self.ways where part.entries[index].key == key {
                part.entries[index].tat = GCRA.full
            }
        }
    }

    /// Takes `cost` tokens of this address if they are there, at `now` in nanoseconds.
    public func take(_ key: AddressKey, cost: Int64 = 1, now: Int64) -> GCRA.Verdict {
        let (stripe, first) = place(of: key)
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

    /// What the address has left at `now` in nanoseconds, for the header fields; takes nothing.
    ///
    /// - Returns: Tokens that remain, and nanoseconds until the bucket is full.
    public func standing(of key: AddressKey, now: Int64) -> (remaining: Int64, resetAfter: Int64) {
        let (stripe, first) = place(of: key)
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
    private func place(of key: AddressKey) -> (Stripe, Int) {
        let hash = Int(truncatingIfNeeded: self.hash.hash(key.high, key.low) &>> 1)
        let stripe = hash & ((1 << stripeBits) - 1)
        let set = (hash &>> stripeBits) & ((1 << setBits) - 1)
        return (stripes[stripe], set * Self.ways)
    }
}
