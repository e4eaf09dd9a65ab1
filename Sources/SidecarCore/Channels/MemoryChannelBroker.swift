import DequeModule
import NIOCore
import Synchronization

/// Channels in the memory of this process; the default ``ChannelBroker``.
///
/// The table of channels is striped by name. A history that is on has one lock beside, since its budget is one for all
/// channels.
public final class MemoryChannelBroker: ChannelBroker {
    /// A channel as it is kept.
    private struct Room {
        var offset: UInt64 = 0
        let epoch: UInt64
        var connections = 0
        var loops = LoopSet()
        var kept: Deque<KeptMessage> = []
        /// The place before its first message, among all of the process.
        let createdAt: UInt64
        /// The place of the last message that is not kept.
        var lostUpTo: UInt64 = 0
        /// The place of its last message.
        var last: UInt64 = 0

        /// Without subscribers and history it need not exist.
        var isEmpty: Bool { connections == 0 && kept.isEmpty }
    }

    private final class Stripe: Sendable {
        let channels = Mutex<[ChannelName: Room]>([:])
    }

    /// What a message in the history costs beyond its payload, in bytes.
    static let messageOverhead = 160
    /// How many entries of the ledger each message that is kept tidies, when there is something to tidy.
    private static let tidiedAtOnce = 8

    private let stripes: [Stripe]
    private let rules: ChannelRules
    private let maxHistoryBytes: Int
    private let makeEpoch: @Sendable () -> UInt64
    private let occupancyChanged: (@Sendable (ChannelName, _ isOccupied: Bool) -> Void)?
    /// The order in which messages fall out.
    private let ledger = Mutex(HistoryLedger())
    /// The place of the last message of the process, and of the last one of a channel that is gone.
    private let sequence = Atomic<UInt64>(0)
    private let vanishedUpTo = Atomic<UInt64>(0)
    private let streamEpoch: UInt64
    private let historyByteCount = Atomic<Int>(0)
    private let keptCount = Atomic<Int>(0)
    private let channelCount = Atomic<Int>(0)
    private let connectionCount = Atomic<Int>(0)
    private let visitCount = Atomic<Int>(0)

    /// An broker without channels.
    ///
    /// - Parameters:
    ///   - servesStreams: Whether places have one order over all channels, as the cursors of event streams need it; then
    ///     the table is in one part.
    ///   - maxHistoryBytes: What all histories may hold; the oldest messages fall out.
    ///   - makeEpoch: Random bits, anew for each channel.
    ///   - occupancyChanged: Hears when a channel gets its first subscriber and loses its last; it must not call the broker.
    public init(
        rules: ChannelRules,
        maxHistoryBytes: Int,
        servesStreams: Bool = false,
        makeEpoch: @escaping @Sendable () -> UInt64,
        occupancyChanged: (@Sendable (ChannelName, _ isOccupied: Bool) -> Void)? = nil
    ) {
        streamEpoch = servesStreams ? makeEpoch() : 0
        self.rules = rules
        self.maxHistoryBytes = maxHistoryBytes
        self.makeEpoch = makeEpoch
        self.occupancyChanged = occupancyChanged
        stripes = (0..<(servesStreams ? 1 : 64)).map { _ in Stripe() }
    }

    /// Channels with a subscriber or a history.
    public var channelsHeld: Int { channelCount.load(ordering: .relaxed) }
    /// Memberships of all connections.
    public var subscriptions: Int { connectionCount.load(ordering: .relaxed) }
    /// What the histories hold, in bytes.
    public var historyBytes: Int { historyByteCount.load(ordering: .relaxed) }

    /// See ``ChannelBroker``; it answers at once.
    public func publish(
        _ publication: Publication,
        excluding reader: UInt64?,
        now: Int64,
        unixMilliseconds: Int64,
        deliver: (Result<ChannelPosition, ChannelFailure>, LoopSet) -> Void
    ) {
        let (size, ttl) = rules.history(of: publication.channel)
        change(publication.channel) { channel in
            channel.offset += 1
            let place = sequence.wrappingAdd(1, ordering: .relaxed).newValue
            channel.last = place
            let position = ChannelPosition(
                offset: channel.offset,
                epoch: Self.text(channel.epoch),
                cursor: StreamCursor(epoch: streamEpoch, sequence: place)
            )
            if size > 0 {
                let message = StoredMessage(
                    offset: channel.offset,
                    time: unixMilliseconds,
                    format: publication.format,
                    payload: publication.payload,
                    event: publication.event
                )
                expire(&channel, now)
                keep(
                    KeptMessage(message: message, expiresAt: now &+ ttl, sequence: place, excluded: reader ?? 0),
                    in: &channel,
                    publication.channel,
                    size,
                    ttl
                )
            }
            if size == 0 { channel.lostUpTo = place }
            deliver(.success(position), channel.loops)
        }
        if size > 0 { dropOldest() }
    }

    /// See ``ChannelBroker``.
    public func changed(_ name: ChannelName, by change: MembershipChange, onLoop loop: Int, isEdge: Bool) {
        self.change(name) { channel in
            switch change {
            case .joined:
                channel.connections += 1
                connectionCount.wrappingAdd(1, ordering: .relaxed)
                channel.loops.bits |= LoopSet.bit(loop)
                if channel.connections == 1 { occupancyChanged?(name, true) }
            case .left:
                channel.connections -= 1
                connectionCount.wrappingSubtract(1, ordering: .relaxed)
                // Where several loops share a bit, nobody knows which of them still needs it.
                if isEdge, loop < 63 { channel.loops.bits &= ~LoopSet.bit(loop) }
                if channel.connections == 0 {
                    channel.loops.bits = 0
                    occupancyChanged?(name, false)
                }
            }
        }
    }

    /// See ``ChannelBroker``.
    public func history(
        of name: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int,
        now: Int64
    ) async throws(ChannelFailure) -> ChannelHistory {
        guard rules.history(of: name).size > 0 else { throw .unknownChannel }
        let found: Result<ChannelHistory, ChannelFailure> = look(name, now) { channel in
            guard let channel else { return .failure(epoch == nil ? .unknownChannel : .gone) }
            let current = Self.text(channel.epoch)
            if let epoch, epoch != current { return .failure(.gone) }
            let kept = channel.kept
            let start: Int
            switch part {
            case .newest:
                start = kept.count - min(limit, kept.count)
            case .after(let place):
                // Those that are kept follow each other without gaps.
                let firstKept = channel.offset &- UInt64(kept.count) &+ 1
                let before = place ?? firstKept &- 1
                guard before <= channel.offset, before + 1 >= firstKept else { return .failure(.gone) }
                start = Int(before + 1 - firstKept)
            }
            let messages = kept[start..<min(start + limit, kept.count)].map(\.message)
            return .success(ChannelHistory(epoch: current, messages: messages))
        }
        return try found.get()
    }

    /// See ``ChannelBroker``.
    public func summary(of name: ChannelName, now: Int64) async throws(ChannelFailure) -> ChannelSummary {
        guard let summary = look(name, now, { $0.map { Self.summary(name, $0) } }) else { throw .unknownChannel }
        return summary
    }

    /// See ``ChannelBroker``.
    public func channels(
        prefix: String,
        after: String?,
        limit: Int,
        now: Int64
    ) async throws(ChannelFailure) -> [ChannelSummary] {
        while let due = removeExpired(now: now), due <= now {}
        var found: [ChannelSummary] = []
        for stripe in stripes {
            found += stripe.channels.withLock { channels in
                channels.filter { $0.key.text.hasPrefix(prefix) && $0.key.text > after ?? "" }.map(Self.summary)
            }
            // No more than asked for is ever of use.
            if found.count > 4 * limit { found = Array(found.sorted { $0.channel < $1.channel }.prefix(limit)) }
        }
        return Array(found.sorted { $0.channel < $1.channel }.prefix(limit))
    }

    /// Forgets messages whose time is over, so many at once that nobody waits long for a lock.
    ///
    /// - Returns: When the next one is due; nil while nothing is kept.
    public func removeExpired(now: Int64, atMost count: Int = 2000) -> Int64? {
        for _ in 0..<count {
            guard let due = ledger.withLock({ $0.popExpired(now) }) else { break }
            visitCount.wrappingAdd(1, ordering: .relaxed)
            stripe(of: due.channel).channels.withLock { channels in
                guard channels[due.channel]?.epoch == due.epoch else { return }
                update(due.channel, in: &channels) { expire(&$0, now) }
            }
        }
        return ledger.withLock { $0.nextExpiry }
    }

    /// What was published to these channels behind a cursor; only in an broker that serves streams.
    ///
    /// - Parameters:
    ///   - room: Only the newest messages that fit into so many bytes are read.
    ///   - overhead: What each of them costs there beyond its payload.
    public func missed(
        _ names: some Sequence<ChannelName>,
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        now: Int64
    ) -> Replay {
        var missed = Replay(messages: [], isComplete: true, upTo: StreamCursor(epoch: streamEpoch, sequence: 0))
        stripe(at: 0).channels.withLock { channels in
            let last = sequence.load(ordering: .relaxed)
            missed.upTo = StreamCursor(epoch: streamEpoch, sequence: last)
            guard let cursor, cursor.epoch == streamEpoch, cursor.sequence <= last else {
                missed.isComplete = false
                return
            }
            var histories: [Deque<KeptMessage>] = []
            let hasVanished = vanishedUpTo.load(ordering: .relaxed) > cursor.sequence
            for name in names {
                update(name, in: &channels) { expire(&$0, now) }
                guard let channel = channels[name] else {
                    if hasVanished || vanishedUpTo.load(ordering: .relaxed) > cursor.sequence {
                        missed.isComplete = false
                    }
                    continue
                }
                if channel.lostUpTo > cursor.sequence || hasVanished && channel.createdAt > cursor.sequence {
                    missed.isComplete = false
                }
                if let last = channel.kept.last, last.sequence > cursor.sequence { histories.append(channel.kept) }
            }
            let looks = missed.takeNewest(of: histories, since: cursor, room: room, overhead: overhead)
            visitCount.wrappingAdd(looks, ordering: .relaxed)
        }
        return missed
    }

    /// Messages that were looked at to forget them or to say what was missed; for tests.
    var visits: Int { visitCount.load(ordering: .relaxed) }

    // MARK: The table

    private func stripe(of name: ChannelName) -> Stripe {
        stripe(at: Int(UInt(bitPattern: name.hashValue) % UInt(stripes.count)))
    }

    private func stripe(at index: Int) -> Stripe { stripes[index % stripes.count] }

    private func look<Answer>(_ name: ChannelName, _ now: Int64, _ body: (Room?) -> Answer) -> Answer {
        stripe(of: name).channels.withLock { channels in
            update(name, in: &channels) { expire(&$0, now) }
            return body(channels[name])
        }
    }

    private func change(_ name: ChannelName, _ body: (inout Room) -> Void) {
        stripe(of: name).channels.withLock { channels in
            if channels[name] == nil {
                channels[name] = Room(epoch: makeEpoch(), createdAt: sequence.load(ordering: .relaxed))
                channelCount.wrappingAdd(1, ordering: .relaxed)
            }
            update(name, in: &channels, body)
        }
    }

    /// Changes a channel in place, since a copy would copy its history, and forgets it when nothing is left of it.
    private func update(
        _ name: ChannelName,
        in channels: inout [ChannelName: Room],
        _ body: (inout Room) -> Void
    ) {
        guard let index = channels.index(forKey: name) else { return }
        body(&channels.values[index])
        guard channels.values[index].isEmpty else { return }
        let last = channels.remove(at: index).value.last
        channelCount.wrappingSubtract(1, ordering: .relaxed)
        if last > vanishedUpTo.load(ordering: .relaxed) { vanishedUpTo.store(last, ordering: .relaxed) }
    }

    private static func summary(_ name: ChannelName, _ channel: Room) -> ChannelSummary {
        ChannelSummary(
            channel: name,
            connections: channel.connections,
            position: ChannelPosition(offset: channel.offset, epoch: text(channel.epoch))
        )
    }

    private static func text(_ epoch: UInt64) -> String { String(epoch, radix: 36) }

    // MARK: History

    private func keep(_ kept: KeptMessage, in channel: inout Room, _ name: ChannelName, _ size: Int, _ ttl: Int64) {
        channel.kept.append(kept)
        historyByteCount.wrappingAdd(kept.bytes, ordering: .relaxed)
        keptCount.wrappingAdd(1, ordering: .relaxed)
        while channel.kept.count > size { dropFirst(&channel) }
        let entry = HistoryLedger.Entry(
            channel: name,
            epoch: channel.epoch,
            offset: kept.message.offset,
            place: kept.sequence,
            expiresAt: kept.expiresAt
        )
        ledger.withLock { $0.append(entry, ttl: ttl) }
    }

    private func expire(_ channel: inout Room, _ now: Int64) {
        while let first = channel.kept.first, first.expiresAt <= now { dropFirst(&channel) }
    }

    private func dropFirst(_ channel: inout Room) {
        guard let first = channel.kept.popFirst() else { return }
        channel.lostUpTo = first.sequence
        historyByteCount.wrappingSubtract(first.bytes, ordering: .relaxed)
        keptCount.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Keeps the budget, and the ledger in proportion to what is kept.
    private func dropOldest() {
        while historyBytes > maxHistoryBytes, let next = ledger.withLock({ $0.popOldest() }) {
            stripe(of: next.channel).channels.withLock { channels in
                guard channels[next.channel]?.epoch == next.epoch else { return }
                update(next.channel, in: &channels) { channel in
                    while let first = channel.kept.first?.message.offset, first <= next.offset { dropFirst(&channel) }
                }
            }
        }
        let limit = 2 * keptCount.load(ordering: .relaxed) + 4096
        for _ in 0..<Self.tidiedAtOnce {
            guard let (entry, ttl) = ledger.withLock({ $0.nextToTidy(above: limit) }) else { return }
            let isKept = stripe(of: entry.channel).channels.withLock { channels in
                guard let channel = channels[entry.channel], channel.epoch == entry.epoch else { return false }
                return channel.kept.first.map { $0.message.offset <= entry.offset } == true
            }
            if isKept { ledger.withLock { $0.keep(entry, ttl: ttl) } }
        }
    }

    /// How many messages the ledger names; for tests.
    var ledgerCount: Int { ledger.withLock { $0.count } }
}
