import Synchronization

/// What all connections of one address or user share: the number of open ones, and their tokens.
///
/// It takes no lock: event loops share two atomic numbers. Each interleaving of their operations equals some order on a
/// single thread, so together they never get more than the rate or the limit allows.
public final class SharedBucket: Sendable {
    private let tat = Atomic<Int64>(GCRA.full)
    private let open = Atomic<Int>(0)
    private let limit: GCRA?
    /// What a message costs: a user of several nodes has its share of the rate on each.
    private let weight = Atomic<Int64>(1)

    /// Makes a full bucket with no connection.
    ///
    /// - Parameter limit: The limit of the rate; nil allows every take.
    public init(_ limit: GCRA? = nil) {
        self.limit = limit
    }

    // MARK: - Tokens

    /// Takes `cost` tokens if they are there, at `now` in nanoseconds.
    public func take(_ cost: Int64 = 1, now: Int64) -> GCRA.Verdict {
        guard let limit else { return .allowed }
        return exchange { limit.take(cost, tat: &$0, now: now) }
    }

    /// Takes `cost` tokens even if they are not there, at `now` in nanoseconds.
    ///
    /// Several holders may be told the same moment and go on together. What they take then is debt that all of them
    /// wait for, so the rate holds over time.
    ///
    /// - Returns: Nanoseconds for which the caller has to pause before its next take; 0 for none.
    public func takeInDebt(_ cost: Int64 = 1, now: Int64) -> Int64 {
        guard let limit else { return 0 }
        return exchange { limit.takeInDebt(cost, tat: &$0, now: now) }
    }

    /// From now on only one of so many parts of the rate may be used here, but at least one token.
    public func share(among parts: Int) {
        let most = min(limit?.remaining(GCRA.full, now: 0) ?? 1, 1 << 20)
        weight.store(min(max(1, Int64(clamping: parts)), max(1, most)), ordering: .relaxed)
    }

    /// What a message costs here, in tokens: 1, or as many as there are parts (``share(among:)``).
    @inline(__always)
    public var messageCost: Int64 { weight.load(ordering: .relaxed) }

    /// Tokens that a take would get now; `Int64.max` without a limit.
    public func remaining(now: Int64) -> Int64 {
        limit?.remaining(tat.load(ordering: .relaxed), now: now) ?? .max
    }

    /// Nanoseconds until the bucket is full, if nothing more is taken.
    public func resetAfter(now: Int64) -> Int64 {
        limit?.resetAfter(tat.load(ordering: .relaxed), now: now) ?? 0
    }

    /// Runs `step` on the timestamp as one atomic operation.
    @inline(__always)
    private func exchange<Result>(_ step: (inout Int64) -> Result) -> Result {
        // Relaxed is enough: no other memory depends on the number.
        var seen = tat.load(ordering: .relaxed)
        while true {
            var wanted = seen
            let result = step(&wanted)
            if wanted == seen { return result }
            let (exchanged, original) = tat.weakCompareExchange(expected: seen, desired: wanted, ordering: .relaxed)
            if exchanged { return result }
            seen = original
        }
    }

    // MARK: - Connections

    /// Connections open now.
    public var connections: Int { open.load(ordering: .relaxed) }

    /// Counts one more connection unless `limit` are open; after true the caller has to call ``close()`` once.
    ///
    /// With `Int.max` it counts and never refuses.
    public func tryOpen(limit: Int) -> Bool {
        var seen = open.load(ordering: .relaxed)
        while seen < limit {
            let (exchanged, original) = open.weakCompareExchange(
                expected: seen,
                desired: seen &+ 1,
                ordering: .relaxed
            )
            if exchanged { return true }
            seen = original
        }
        return false
    }

    /// Counts one connection less.
    public func close() {
        var seen = open.load(ordering: .relaxed)
        while seen > 0 {
            let (exchanged, original) = open.weakCompareExchange(
                expected: seen,
                desired: seen &- 1,
                ordering: .relaxed
            )
            if exchanged { return }
            seen = original
        }
    }
}
