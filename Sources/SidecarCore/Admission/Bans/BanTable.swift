/// All bans of a process, in bounded memory; they end by themselves.
public struct BanTable: Sendable {
    /// What became of adding one.
    public enum Addition: Sendable, Equatable {
        case added
        /// The same subject was banned already; the new end counts.
        case replaced
        /// The table is full.
        case full
    }

    /// How many there may be.
    public let capacity: Int
    private var bans: [BanSubject: Ban] = [:]
    /// How many networks there are of each length and family: a look-up probes each length once.
    private var lengths: [Length: Int] = [:]

    private struct Length: Hashable {
        let bits: Int
        let isIPv4: Bool
    }

    /// An empty table.
    public init(capacity: Int = 10_000) {
        self.capacity = capacity
    }

    /// The number of bans, including any that have ended but have not been removed yet.
    public var count: Int { bans.count }

    /// Adds a ban, or changes the end of an existing one.
    public mutating func add(_ ban: Ban, now: Int64) -> Addition {
        if bans.updateValue(ban, forKey: ban.subject) != nil { return .replaced }
        if bans.count > capacity { removeEnded(now) }
        if bans.count > capacity {
            bans[ban.subject] = nil
            return .full
        }
        count(ban.subject, by: 1)
        return .added
    }

    /// Adds a ban that no operator asked for; such bans use at most half of the capacity.
    ///
    /// - Returns: `replaced` when the subject is banned already, and the longer of the two ends counts.
    public mutating func addAutomatic(_ ban: Ban, now: Int64) -> Addition {
        if let known = bans[ban.subject], known.until > now {
            if known.until < ban.until { bans[ban.subject] = ban }
            return .replaced
        }
        if bans.count >= capacity / 2 { removeEnded(now) }
        return bans.count < capacity / 2 ? add(ban, now: now) : .full
    }

    /// Ends a ban early; false when there is none.
    public mutating func remove(_ subject: BanSubject, now: Int64) -> Bool {
        guard let ban = bans.removeValue(forKey: subject) else { return false }
        count(subject, by: -1)
        return ban.until > now
    }

    /// The ban of exactly this subject.
    public func ban(of subject: BanSubject, now: Int64) -> Ban? {
        bans[subject].flatMap { $0.until > now ? $0 : nil }
    }

    /// True when a ban covers this address.
    public func covers(_ address: IPAddress, now: Int64) -> Bool {
        for length in lengths.keys where length.isIPv4 == address.isIPv4 {
            let network = IPNetwork(address, prefixLength: length.bits)
            if ban(of: .network(network), now: now) != nil { return true }
        }
        return false
    }

    /// All bans in force, by kind and value.
    public mutating func list(now: Int64) -> [Ban] {
        removeEnded(now)
        return bans.values.sorted {
            ($0.subject.kind, $0.subject.value) < ($1.subject.kind, $1.subject.value)
        }
    }

    /// Forgets those that have ended.
    public mutating func removeEnded(_ now: Int64) {
        for (subject, ban) in bans where ban.until <= now {
            bans[subject] = nil
            count(subject, by: -1)
        }
    }

    private mutating func count(_ subject: BanSubject, by change: Int) {
        guard case .network(let network) = subject else { return }
        let length = Length(bits: network.prefixLength, isIPv4: network.address.isIPv4)
        let left = lengths[length, default: 0] + change
        lengths[length] = left > 0 ? left : nil
    }
}
