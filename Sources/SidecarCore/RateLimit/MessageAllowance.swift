/// What one connection may send: its own rates, and those it shares with others of its address and its user.
///
/// All of them use one reading of the clock. The shared buckets are used from all event loops, without a lock.
public struct MessageAllowance: Sendable {
    /// A limit that was reached, under its name in metrics.
    public struct Excess: Sendable, Equatable {
        /// Which limit.
        public let limit: DryRunLimit
        /// Nanoseconds until the connection may send again.
        public let wait: Int64
    }

    private var perConnection: GCRA?
    private var bytes: GCRA?
    private var dryRun: Set<DryRunLimit>
    private var messageTime = GCRA.full
    private var byteTime = GCRA.full
    private var address: SharedBucket?
    private var user: SharedBucket?

    /// Makes the allowance of a new connection.
    public init(perConnection: GCRA?, bytes: GCRA?, dryRun: Set<DryRunLimit>) {
        self.perConnection = perConnection
        self.bytes = bytes
        self.dryRun = dryRun
    }

    /// In how many nanoseconds the allowances of the connection alone are full again.
    public func debts(now: Int64) -> (messages: Int64, bytes: Int64) {
        func debt(_ time: Int64) -> Int64 { time <= now ? 0 : time - now }
        return (debt(messageTime), debt(byteTime))
    }

    /// Takes over what the connection has sent elsewhere.
    public mutating func owe(messages: Int64, bytes: Int64, now: Int64) {
        func time(_ debt: Int64) -> Int64 { debt <= 0 ? GCRA.full : now.addingReportingOverflow(debt).partialValue }
        (messageTime, byteTime) = (time(min(messages, Self.mostDebt)), time(min(bytes, Self.mostDebt)))
    }

    /// A day, in nanoseconds.
    private static let mostDebt: Int64 = 86_400_000_000_000

    /// Applies other limits; what was sent so far still counts.
    public mutating func change(perConnection: GCRA?, bytes: GCRA?, dryRun: Set<DryRunLimit>) {
        self.perConnection = perConnection
        self.bytes = bytes
        self.dryRun = dryRun
    }

    /// Counts the connection's messages together with all others of its address; nil when that is not limited.
    public mutating func share(withAddress bucket: SharedBucket?) {
        address = bucket
    }

    /// Counts the connection's messages together with all others of its user; nil when that is not limited or no user
    /// is known.
    public mutating func share(withUser bucket: SharedBucket?) {
        user = bucket
    }

    /// Takes a message off every allowance, and returns the limit that requires the longest pause.
    ///
    /// The message itself is let through; only reading has to stop until the pause is over.
    ///
    /// - Parameters:
    ///   - payloadBytes: Bytes of the message's payload.
    ///   - now: The time in nanoseconds.
    ///   - overstepped: Called for each limit in a dry run that would have required a pause.
    public mutating func takeInDebt(
        payloadBytes: Int,
        now: Int64,
        overstepped: (DryRunLimit) -> Void
    ) -> Excess? {
        var worst: Excess?
        func note(_ limit: DryRunLimit, _ wait: Int64) {
            if wait > worst?.wait ?? 0 { worst = Excess(limit: limit, wait: wait) }
        }
        // In a dry run nobody waits, so what counts is that this message comes too soon, not that the next one would.
        func noteDry(_ limit: DryRunLimit, _ verdict: GCRA.Verdict) {
            if case .limited = verdict { overstepped(limit) }
        }
        if let perConnection {
            if isDry(.messageRate) {
                noteDry(.messageRate, perConnection.take(tat: &messageTime, now: now))
            } else {
                note(.messageRate, perConnection.takeInDebt(tat: &messageTime, now: now))
            }
        }
        if let bytes {
            let cost = Int64(payloadBytes)
            if isDry(.byteRate) {
                noteDry(.byteRate, bytes.take(cost, tat: &byteTime, now: now))
            } else {
                note(.byteRate, bytes.takeInDebt(cost, tat: &byteTime, now: now))
            }
        }
        if let address {
            if isDry(.messageRatePerIP) {
                noteDry(.messageRatePerIP, address.take(now: now))
            } else {
                note(.messageRatePerIP, address.takeInDebt(now: now))
            }
        }
        if let user {
            if isDry(.messageRatePerUser) {
                noteDry(.messageRatePerUser, take(of: user, now))
            } else {
                let cost = user.messageCost
                // Most users are on one node, and a cost that is known is cheaper.
                note(
                    .messageRatePerUser,
                    cost == 1 ? user.takeInDebt(now: now) : user.takeInDebt(cost, now: now)
                )
            }
        }
        return worst
    }

    private func take(of user: SharedBucket, _ now: Int64) -> GCRA.Verdict {
        let cost = user.messageCost
        return cost == 1 ? user.take(now: now) : user.take(cost, now: now)
    }

    private func isDry(_ limit: DryRunLimit) -> Bool { !dryRun.isEmpty && dryRun.contains(limit) }

    /// Takes a message off every allowance that has room for it, and returns the first that has not.
    public mutating func take(
        payloadBytes: Int,
        now: Int64,
        overstepped: (DryRunLimit) -> Void
    ) -> DryRunLimit? {
        var refused: DryRunLimit?
        func note(_ limit: DryRunLimit, _ verdict: GCRA.Verdict) {
            guard case .limited = verdict else { return }
            if dryRun.contains(limit) { overstepped(limit) } else { refused = refused ?? limit }
        }
        if let perConnection { note(.messageRate, perConnection.take(tat: &messageTime, now: now)) }
        if let bytes { note(.byteRate, bytes.take(Int64(payloadBytes), tat: &byteTime, now: now)) }
        if let address { note(.messageRatePerIP, address.take(now: now)) }
        if let user { note(.messageRatePerUser, take(of: user, now)) }
        return refused
    }
}
