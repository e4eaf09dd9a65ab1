import DequeModule

/// Which kept messages fall out next: the oldest of all when the budget is spent, and those whose time is over.
///
/// Messages with the same time to live expire in the order in which they came, so a queue for each such time is enough,
/// and looking costs nothing while nothing is due. Messages that have made room for newer ones of their own channel stay
/// in the queue until it is tidied, a few of them with each message that comes.
struct HistoryLedger: Sendable {
    /// One message that is, or was, kept.
    struct Entry: Sendable, Equatable {
        let channel: ChannelName
        let epoch: ChannelEpoch
        let offset: UInt64
        /// Its place among all messages of the process.
        let place: UInt64
        let expiresAt: Int64
    }

    private struct Lane: Sendable {
        let ttl: Int64
        /// What has been tidied already; it comes before the rest.
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

    /// One for each time to live that the settings name.
    private var lanes: [Lane] = []
    /// How many messages it names.
    private(set) var count = 0

    /// When the next message expires, at the earliest; nil when it names none.
    var nextExpiry: Int64? { lanes.compactMap { $0.first?.expiresAt }.min() }

    /// Takes note of a message.
    mutating func append(_ entry: Entry, ttl: Int64) {
        count += 1
        if let index = lanes.firstIndex(where: { $0.ttl == ttl }) {
            lanes[index].rest.append(entry)
        } else {
            lanes.append(Lane(ttl: ttl, rest: [entry]))
        }
    }

    /// Takes a message whose time is over.
    mutating func popExpired(_ now: Int64) -> Entry? {
        pop(from: lanes.indices.first { lanes[$0].first.map { $0.expiresAt <= now } == true })
    }

    /// Takes the oldest message.
    mutating func popOldest() -> Entry? {
        pop(from: lanes.indices.min { (lanes[$0].first?.place ?? .max) < (lanes[$1].first?.place ?? .max) })
    }

    private mutating func pop(from lane: Int?) -> Entry? {
        guard let lane, let entry = lanes[lane].popFirst() else { return nil }
        count -= 1
        return entry
    }

    // MARK: Tidying

    /// Takes a message to look whether it is still kept; ``keep(_:ttl:)`` has to follow if it is.
    ///
    /// - Parameter limit: Nothing needs to be tidied while it names no more than these.
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

    /// Puts a message back that is still kept.
    mutating func keep(_ entry: Entry, ttl: Int64) {
        guard let index = lanes.firstIndex(where: { $0.ttl == ttl }) else { return append(entry, ttl: ttl) }
        count += 1
        if lanes[index].isTidying { lanes[index].tidy.append(entry) } else { lanes[index].rest.append(entry) }
    }
}
