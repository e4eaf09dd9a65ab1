public import Synchronization

/// The shared buckets of all addresses or users that have connections.
///
/// A connection keeps its bucket and uses it without the table, so the locks here are taken once per connection, never
/// per message. A bucket is removed when nobody holds it any more and it is full again: a new one would be equal to it.
/// Each access examines a few entries for that, so the table is never scanned as a whole. Held entries are as many as
/// there are connections at most; those that wait to be removed are about as many again.
///
/// Everything is inlinable because the key type is known in other modules only: unspecialised, an access takes five
/// times as long.
public final class BucketTable<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    final class Stripe: Sendable {
        @usableFromInline let slots = Mutex(BucketSlots<Key>())

        @inlinable
        init() {}
    }

    /// Entries examined in each of two stripes per access; with only one, sweeping would fall behind.
    @inlinable static var sweepSteps: Int { 2 }

    @usableFromInline let stripes: [Stripe]
    @usableFromInline let limit: GCRA?
    @usableFromInline let turn = Atomic<Int>(0)

    /// Makes an empty table.
    ///
    /// - Parameters:
    ///   - limit: The limit of each bucket's rate; nil for none.
    ///   - stripes: Parts with a lock each, at least 1.
    @inlinable
    public init(_ limit: GCRA? = nil, stripes: Int = 64) {
        self.limit = limit
        self.stripes = (0..<min(max(stripes, 1), 4096)).map { _ in Stripe() }
    }

    /// Entries, held or not.
    public var count: Int {
        stripes.reduce(0) { sum, stripe in sum + stripe.slots.withLock { $0.count } }
    }

    /// The bucket of `key`, created if there is none; the same one as long as anybody holds it.
    ///
    /// - Parameter now: The time in nanoseconds, to remove entries that are no longer needed.
    @inlinable
    public func bucket(for key: Key, now: Int64) -> SharedBucket {
        let own = stripe(key.hashValue)
        let bucket = own.slots.withLock { slots in
            slots.sweep(steps: Self.sweepSteps, now: now)
            return slots.bucket(for: key, limit)
        }
        // Stripes that are no longer accessed are swept in turn; one that is in use sweeps itself.
        let next = stripe(turn.wrappingAdd(1, ordering: .relaxed).oldValue)
        _ = next.slots.withLockIfAvailable { $0.sweep(steps: Self.sweepSteps, now: now) }
        return bucket
    }

    @inlinable
    func stripe(_ number: Int) -> Stripe {
        stripes[Int(truncatingIfNeeded: UInt(bitPattern: number) % UInt(stripes.count))]
    }
}

/// The entries of one stripe.
@usableFromInline
struct BucketSlots<Key: Hashable & Sendable>: Sendable {
    @usableFromInline
    struct Slot: Sendable {
        @usableFromInline let key: Key
        @usableFromInline var bucket: SharedBucket

        @inlinable
        init(key: Key, bucket: SharedBucket) {
            self.key = key
            self.bucket = bucket
        }
    }

    @usableFromInline var slots: [Slot] = []
    @usableFromInline var indexByKey: [Key: Int] = [:]
    /// The slot that is swept next.
    @usableFromInline var hand = 0

    /// Slots kept even when empty.
    @inlinable static var leastCapacity: Int { 64 }

    @inlinable
    init() {}

    var count: Int { slots.count }
    var capacity: Int { slots.capacity }

    @inlinable
    mutating func bucket(for key: Key, _ limit: @autoclosure () -> GCRA?) -> SharedBucket {
        if let index = indexByKey[key] { return slots[index].bucket }
        let bucket = SharedBucket(limit())
        indexByKey[key] = slots.count
        slots.append(Slot(key: key, bucket: bucket))
        return bucket
    }

    /// Examines the next `steps` slots and removes those that are no longer needed.
    @inlinable
    mutating func sweep(steps: Int, now: Int64) {
        for _ in 0..<min(steps, slots.count) {
            if hand >= slots.count { hand = 0 }
            // Only this table hands out buckets, under this lock: one that only the table refers to cannot become held
            // meanwhile.
            let isHeld = !isKnownUniquelyReferenced(&slots[hand].bucket)
            if isHeld || slots[hand].bucket.resetAfter(now: now) > 0 {
                hand += 1
            } else {
                removeSlotAtHand()
            }
        }
    }

    @inlinable
    mutating func removeSlotAtHand() {
        indexByKey[slots[hand].key] = nil
        let last = slots.removeLast()
        if hand < slots.count {
            indexByKey[last.key] = hand
            slots[hand] = last
        }
        if slots.capacity > Self.leastCapacity, slots.count < slots.capacity / 4 { shrink() }
    }

    /// Frees memory after a peak; rare enough that the cost for each removal stays constant on average.
    @inlinable
    mutating func shrink() {
        var fewer: [Slot] = []
        fewer.reserveCapacity(slots.count * 2)
        fewer.append(contentsOf: slots)
        var fewerByKey: [Key: Int] = [:]
        fewerByKey.reserveCapacity(slots.count * 2)
        for (index, slot) in fewer.enumerated() { fewerByKey[slot.key] = index }
        slots = fewer
        indexByKey = fewerByKey
    }
}
