import DequeModule

/// Which kept messages are dropped next: the oldest of all when the budget is spent, and those that have expired.
///
/// Messages with the same time to live expire in the order in which they came, so one queue for each time to live is
/// enough, and checking costs nothing while nothing is due. An entry whose message has made room for newer ones of its
/// own channel stays in the queue until tidying finds it, a few entries with each new message.
struct HistoryLedger: Sendable {
    /// One message that is, or was, kept.
    struct Entry: Sendable, Equatable {
        let channel: ChannelName
        let epoch: ChannelEpoch
        let offset: UInt64
        /// Its number in the order of all messages of the process.
        let sequence: UInt64
        let expiresAt: Int64
    }

    private struct Lane: Sendable {
        let ttl: Int64
        /// Entries that have been tidied; they come before `rest`.
        var tidy: Deque<Entry> = []
        var rest: Deque<Entry> = []
        var isTidying = false

        var first: Entry? { tidy.first ?? rest.first }
        mutating func popFirst() -> Entry? { tidy.popFirst() ?? rest.popFirst() }
        mutating func endTidying() {
            swap(&tidy, &rest)
            isTidying = false
        }
    }

    /// One queue for each time to live that the settings name.
    private var lanes: [Lane] = []
    /// The number of entries.
    private(set) var count = 0

    /// The earliest expiry of any entry; nil when there is none.
    var nextExpiry: Int64? { lanes.compactMap { $0.first?.expiresAt }.min() }

    /// Adds the entry of a new message.
    mutating func append(_ entry: Entry, ttl: Int64) {
        count += 1
        if let index = lanes.firstIndex(where: { $0.ttl == ttl }) {
            lanes[index].rest.append(entry)
        } else {
            lanes.append(Lane(ttl: ttl, rest: [entry]))
        }
    }

    /// Takes the entry of an expired message.
    mutating func popExpired(_ now: Int64) -> Entry? {
        pop(from: lanes.indices.first { lanes[$0].first.map { $0.expiresAt <= now } == true })
    }

    /// Takes the entry of the oldest message.
    mutating func popOldest() -> Entry? {
        pop(from: lanes.indices.min { (lanes[$0].first?.sequence ?? .max) < (lanes[$1].first?.sequence ?? .max) })
    }

    private mutating func pop(from lane: Int?) -> Entry? {
        guard let lane, let entry = lanes[lane].popFirst() else { return nil }
        count -= 1
        return entry
    }

    // MARK: Tidying

    /// Takes an entry to check whether its message is still kept; if so, ``keep(_:ttl:)`` has to follow.
    ///
    /// - Parameter limit: Nothing is tidied while there are no more entries than this.
    mutating func nextToTidy(above limit: Int) -> (entry: Entry, ttl: Int64)? {
        if count > limit, !lanes.contains(where: \.isTidying) {
            for index in lanes.indices { lanes[index].isTidying = true }
        }
        for index in lanes.indices where lanes[index].isTidying {
            if let entry = lanes[index].rest.popFirst() {
                count -= 1
                return (entry, lanes[index].ttl)
            }
            lanes[index].endTidying()
        }
        return nil
    }

    /// Puts back an entry whose message is still kept.
    mutating func keep(_ entry: Entry, ttl: Int64) {
        guard let index = lanes.firstIndex(where: { $0.ttl == ttl }) else { return append(entry, ttl: ttl) }
        count += 1
        if lanes[index].isTidying { lanes[index].tidy.append(entry) } else { lanes[index].rest.append(entry) }
    }
}
