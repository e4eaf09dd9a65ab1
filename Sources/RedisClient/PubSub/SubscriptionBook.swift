import DequeModule

/// Which channels are wanted of one server, and what it has been told and has confirmed.
///
/// Without a connection only the wish is kept. With one, ``nextBatch()`` says what to send next, as long as it returns
/// something, and again after each confirmation.
struct SubscriptionBook: Sendable {
    /// What became of a confirmation.
    enum Confirmation: Sendable, Equatable {
        /// The channel is subscribed, and wanted.
        case subscribed
        /// Nothing to tell anybody.
        case nothing
    }

    private enum Wire: Sendable {
        /// Not subscribed.
        case none
        /// The command is on its way.
        case subscribing
        /// Confirmed.
        case subscribed
        /// The command that ends it is on its way.
        case unsubscribing
    }

    private struct Entry: Sendable {
        let group: Int
        var isWanted: Bool
        var wire = Wire.none
        /// It stands in a queue, whatever for: it is looked at when it is its turn.
        var isQueued = false
    }

    /// Channels that wait, by group: a command may only name channels of one slot when they are sharded.
    private struct Queue: Sendable {
        private var groups: [Int: [RedisChannel]] = [:]
        private var order = Deque<Int>()

        mutating func add(_ channel: RedisChannel, group: Int) {
            if groups[group] == nil { order.append(group) }
            groups[group, default: []].append(channel)
        }

        /// Takes up to `count` channels of one group; empty when nothing waits.
        mutating func take(_ count: Int) -> [RedisChannel] {
            guard let group = order.first, var waiting = groups.removeValue(forKey: group) else { return [] }
            let taken = Array(waiting.suffix(count))
            waiting.removeLast(taken.count)
            order.removeFirst()
            if !waiting.isEmpty {
                groups[group] = waiting
                order.append(group)
            }
            return taken
        }
    }

    /// How many channels a command names at most.
    static var batchSize: Int { 500 }
    /// How many commands may be on their way.
    static var maxBatchesInFlight: Int { 4 }

    private var entries: [RedisChannel: Entry] = [:]
    private var joins = Queue()
    private var leaves = Queue()
    private var batchesInFlight = 0
    private var isConnected = false
    private var isSharded = false
    private var wantedCount = 0

    /// How many channels are kept, wanted or still to be unsubscribed.
    var count: Int { entries.count }
    /// True when nothing is wanted.
    var isEmpty: Bool { wantedCount == 0 }
    /// All channels that are wanted.
    var wanted: [RedisChannel] { entries.compactMap { $1.isWanted ? $0 : nil } }

    /// Says whether the channel is wanted.
    func wants(_ channel: RedisChannel) -> Bool { entries[channel]?.isWanted == true }
    /// Says whether the channel is wanted and confirmed.
    func isSubscribed(_ channel: RedisChannel) -> Bool {
        guard let entry = entries[channel] else { return false }
        return entry.isWanted && entry.wire == .subscribed
    }

    // MARK: Wishes

    /// The channel is wanted from now on; says whether it is subscribed already, because the server has not been told
    /// yet that it was no longer wanted.
    ///
    /// - Parameter group: The channel's slot.
    @discardableResult
    mutating func want(_ channel: RedisChannel, group: Int) -> Bool {
        var entry = entries[channel] ?? Entry(group: group, isWanted: false)
        guard !entry.isWanted else { return false }
        entry.isWanted = true
        wantedCount += 1
        enqueue(channel, &entry)
        entries[channel] = entry
        return entry.wire == .subscribed
    }

    /// The channel is no longer wanted; says whether it was subscribed and wanted.
    @discardableResult
    mutating func unwant(_ channel: RedisChannel) -> Bool {
        guard var entry = entries[channel], entry.isWanted else { return false }
        let wasSubscribed = entry.wire == .subscribed
        entry.isWanted = false
        wantedCount -= 1
        if entry.wire == .none, !entry.isQueued {
            entries[channel] = nil
            return false
        }
        enqueue(channel, &entry)
        entries[channel] = entry
        return wasSubscribed
    }

    // MARK: The connection

    /// There is a connection, on which nothing is subscribed yet.
    mutating func connected(isSharded: Bool) {
        _ = disconnected()
        isConnected = true
        self.isSharded = isSharded
        for (channel, entry) in entries {
            joins.add(channel, group: isSharded ? entry.group : 0)
            entries[channel]?.isQueued = true
        }
    }

    /// The connection is lost; returns the wanted channels that were subscribed.
    mutating func disconnected() -> [RedisChannel] {
        guard isConnected else { return [] }
        isConnected = false
        joins = Queue()
        leaves = Queue()
        batchesInFlight = 0
        var interrupted: [RedisChannel] = []
        var kept: [RedisChannel: Entry] = [:]
        kept.reserveCapacity(wantedCount)
        for (channel, entry) in entries where entry.isWanted {
            if entry.wire == .subscribed { interrupted.append(channel) }
            kept[channel] = Entry(group: entry.group, isWanted: true)
        }
        entries = kept
        return interrupted
    }

    /// What to send next; nil when there is nothing, or enough is on its way.
    mutating func nextBatch() -> SubscriptionBatch? {
        guard isConnected else { return nil }
        while batchesInFlight < Self.maxBatchesInFlight {
            let leaving = leaves.take(Self.batchSize)
            let taken = leaving.isEmpty ? joins.take(Self.batchSize) : leaving
            if taken.isEmpty { return nil }
            let channels = begin(taken, subscribes: leaving.isEmpty)
            guard !channels.isEmpty else { continue }
            batchesInFlight += 1
            let kind = SubscriptionKind(subscribes: leaving.isEmpty, isSharded: isSharded)
            return SubscriptionBatch(kind: kind, channels: channels)
        }
        return nil
    }

    /// The server has confirmed one channel of a batch.
    mutating func confirmed(_ channel: RedisChannel, subscribes: Bool) -> Confirmation {
        guard var entry = entries[channel] else { return .nothing }
        entry.wire = subscribes ? .subscribed : .none
        if !subscribes, !entry.isWanted, !entry.isQueued {
            entries[channel] = nil
            return .nothing
        }
        enqueue(channel, &entry)
        entries[channel] = entry
        return subscribes && entry.isWanted ? .subscribed : .nothing
    }

    /// All of a batch has been confirmed, or the server has refused it.
    mutating func batchEnded() { batchesInFlight = max(0, batchesInFlight - 1) }

    /// The server has refused these channels of a batch.
    ///
    /// To subscribe them has to be tried again with ``retry(_:)``; to unsubscribe them has not: whatever they still
    /// bring is left out.
    mutating func refused(_ channels: some Sequence<RedisChannel>, subscribes: Bool) {
        for channel in channels {
            guard var entry = entries[channel] else { continue }
            entry.wire = .none
            if !entry.isWanted, !entry.isQueued {
                entries[channel] = nil
                continue
            }
            if !subscribes { enqueue(channel, &entry) }
            entries[channel] = entry
        }
    }

    /// The server has ended a subscription by itself; says whether it was wanted and confirmed.
    mutating func revoked(_ channel: RedisChannel) -> Bool {
        guard var entry = entries[channel] else { return false }
        let wasSubscribed = entry.wire == .subscribed && entry.isWanted
        entry.wire = .none
        entries[channel] = entry.isWanted || entry.isQueued ? entry : nil
        return wasSubscribed
    }

    /// Subscribes those of the channels that are wanted and not subscribed.
    mutating func retry(_ channels: some Sequence<RedisChannel>) {
        for channel in channels {
            guard var entry = entries[channel] else { continue }
            enqueue(channel, &entry)
            entries[channel] = entry
        }
    }

    // MARK: Queues

    /// Lets the entry wait for its turn if wish and state differ.
    private mutating func enqueue(_ channel: RedisChannel, _ entry: inout Entry) {
        guard isConnected, !entry.isQueued else { return }
        let group = isSharded ? entry.group : 0
        switch (entry.isWanted, entry.wire) {
        case (true, .none): joins.add(channel, group: group)
        case (false, .subscribed): leaves.add(channel, group: group)
        default: return
        }
        entry.isQueued = true
    }

    /// Takes from channels whose turn has come those that still need the command.
    private mutating func begin(_ taken: [RedisChannel], subscribes: Bool) -> [RedisChannel] {
        var channels: [RedisChannel] = []
        channels.reserveCapacity(taken.count)
        for channel in taken {
            guard var entry = entries[channel] else { continue }
            entry.isQueued = false
            switch (entry.isWanted, entry.wire) {
            case (true, .none) where subscribes:
                entry.wire = .subscribing
                channels.append(channel)
            case (false, .subscribed) where !subscribes:
                entry.wire = .unsubscribing
                channels.append(channel)
            case (false, .none):
                entries[channel] = nil
                continue
            default: enqueue(channel, &entry)
            }
            entries[channel] = entry
        }
        return channels
    }
}
