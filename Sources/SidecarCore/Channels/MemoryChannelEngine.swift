import DequeModule
import NIOCore
import Synchronization

/// Channels in the memory of this process; the default ``ChannelEngine``.
///
/// The table of channels is striped by name. A history that is on has one lock beside, since its budget is one for all
/// channels.
public final class MemoryChannelEngine: ChannelEngine {
    /// A channel as it is kept.
    private struct Room {
        var offset: UInt64 = 0
        let epoch: UInt64
        var connections = 0
        var loops = LoopSet()
        var kept: Deque<Kept> = []
        /// The place before its first message, among all of the process.
        let createdAt: UInt64
        /// The place of the last message that is not kept.
        var lostUpTo: UInt64 = 0
        /// The place of its last message.
        var last: UInt64 = 0

        /// Without subscribers and history it need not exist.
        var isEmpty: Bool { connections == 0 && kept.isEmpty }
    }

    private struct Kept {
        let message: StoredMessage
        let expiresAt: Int64
        let sequence: UInt64
        var bytes: Int { message.payload.readableBytes + MemoryChannelEngine.messageOverhead }
    }

    private final class Stripe: Sendable {
        let channels = Mutex<[ChannelName: Room]>([:])
    }

    /// What a message in the history costs beyond its payload, in bytes.
    static let messageOverhead = 160

    private let stripes: [Stripe]
    private let rules: ChannelRules
    private let maxHistoryBytes: Int
    private let makeEpoch: @Sendable () -> UInt64
    /// The order in which messages fall out when the budget is spent.
    private let oldest = Mutex<Deque<(channel: ChannelName, offset: UInt64, epoch: UInt64)>>([])
    /// The place of the last message of the process, and of the last one of a channel that is gone.
    private let sequence = Atomic<UInt64>(0)
    private let vanishedUpTo = Atomic<UInt64>(0)
    private let streamEpoch: UInt64
    private let historyByteCount = Atomic<Int>(0)
    private let channelCount = Atomic<Int>(0)
    private let connectionCount = Atomic<Int>(0)

    /// An engine without channels.
    ///
    /// - Parameters:
    ///   - servesStreams: Whether places have one order over all channels, as the cursors of event streams need it; then
    ///     the table is in one part.
    ///   - maxHistoryBytes: What all histories may hold; the oldest messages fall out.
    ///   - makeEpoch: Random bits, anew for each channel.
    public init(
        rules: ChannelRules,
        maxHistoryBytes: Int,
        servesStreams: Bool = false,
        makeEpoch: @escaping @Sendable () -> UInt64
    ) {
        streamEpoch = servesStreams ? makeEpoch() : 0
        self.rules = rules
        self.maxHistoryBytes = maxHistoryBytes
        self.makeEpoch = makeEpoch
        stripes = (0..<(servesStreams ? 1 : 64)).map { _ in Stripe() }
    }

    /// Channels with a subscriber or a history.
    public var channelsHeld: Int { channelCount.load(ordering: .relaxed) }
    /// Memberships of all connections.
    public var subscriptions: Int { connectionCount.load(ordering: .relaxed) }
    /// What the histories hold, in bytes.
    public var historyBytes: Int { historyByteCount.load(ordering: .relaxed) }

    /// See ``ChannelEngine``; it answers at once.
    public func publish(
        _ publication: Publication,
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
                keep(
                    Kept(message: message, expiresAt: now &+ ttl, sequence: place),
                    in: &channel,
                    publication.channel,
                    size,
                    now
                )
            }
            if size == 0 { channel.lostUpTo = place }
            deliver(.success(position), channel.loops)
        }
        if size > 0 { dropOldest() }
    }

    /// See ``ChannelEngine``.
    public func changed(_ name: ChannelName, by change: MembershipChange, onLoop loop: Int, isEdge: Bool) {
        self.change(name) { channel in
            switch change {
            case .joined:
                channel.connections += 1
                connectionCount.wrappingAdd(1, ordering: .relaxed)
                channel.loops.bits |= LoopSet.bit(loop)
            case .left:
                channel.connections -= 1
                connectionCount.wrappingSubtract(1, ordering: .relaxed)
                // Where several loops share a bit, nobody knows which of them still needs it.
                if isEdge, loop < 63 { channel.loops.bits &= ~LoopSet.bit(loop) }
                if channel.connections == 0 { channel.loops.bits = 0 }
            }
        }
    }

    /// See ``ChannelEngine``.
    public func history(
        of name: ChannelName,
        after: UInt64?,
        epoch: String?,
        limit: Int,
        now: Int64
    ) async throws(ChannelFailure) -> ChannelHistory {
        guard rules.history(of: name).size > 0 else { throw .unknownChannel }
        let found: Result<ChannelHistory, ChannelFailure> = look(name, now) { channel in
            guard let channel else { return .failure(epoch == nil ? .unknownChannel : .gone) }
            let current = Self.text(channel.epoch)
            if let epoch, epoch != current { return .failure(.gone) }
            let firstKept = channel.kept.first?.message.offset ?? channel.offset + 1
            if let after, after > channel.offset || after + 1 < firstKept { return .failure(.gone) }
            let messages = channel.kept.lazy.map(\.message).drop { $0.offset <= after ?? 0 }.prefix(limit)
            return .success(ChannelHistory(epoch: current, messages: Array(messages)))
        }
        return try found.get()
    }

    /// See ``ChannelEngine``.
    public func summary(of name: ChannelName, now: Int64) async throws(ChannelFailure) -> ChannelSummary {
        guard let summary = look(name, now, { $0.map { Self.summary(name, $0) } }) else { throw .unknownChannel }
        return summary
    }

    /// See ``ChannelEngine``.
    public func channels(
        prefix: String,
        after: String?,
        limit: Int,
        now: Int64
    ) async throws(ChannelFailure) -> [ChannelSummary] {
        var found: [ChannelSummary] = []
        for stripe in stripes {
            found += stripe.channels.withLock { channels in
                removeExpired(&channels, now)
                return channels.filter { $0.key.text.hasPrefix(prefix) && $0.key.text > after ?? "" }.map(Self.summary)
            }
            // No more than asked for is ever of use.
            if found.count > 4 * limit { found = Array(found.sorted { $0.channel < $1.channel }.prefix(limit)) }
        }
        return Array(found.sorted { $0.channel < $1.channel }.prefix(limit))
    }

    /// Forgets messages whose time is over, in one part of the table; to be called with 0, 1, 2 … again and again, so
    /// that nothing stays much longer than it should and nobody waits long for a lock.
    public func removeExpired(part: Int, now: Int64) {
        guard historyBytes > 0 else { return }
        stripe(at: part & 63).channels.withLock { removeExpired(&$0, now) }
    }

    private func removeExpired(_ channels: inout [ChannelName: Room], _ now: Int64) {
        guard historyBytes > 0 else { return }
        for (name, var channel) in channels where channel.kept.first.map({ $0.expiresAt <= now }) == true {
            expire(&channel, now)
            store(channel, name, in: &channels)
        }
    }

    /// What was published to these channels behind a cursor; only in an engine that serves streams.
    public func missed(_ names: some Sequence<ChannelName>, since cursor: StreamCursor?, now: Int64) -> MissedEvents {
        var missed = MissedEvents(messages: [], isComplete: true, upTo: 0)
        stripe(at: 0).channels.withLock { channels in
            missed.upTo = sequence.load(ordering: .relaxed)
            guard let cursor, cursor.epoch == streamEpoch, cursor.sequence <= missed.upTo else {
                missed.isComplete = false
                return
            }
            let hasVanished = vanishedUpTo.load(ordering: .relaxed) > cursor.sequence
            for name in names {
                guard var channel = channels[name] else {
                    if hasVanished { missed.isComplete = false }
                    continue
                }
                expire(&channel, now)
                store(channel, name, in: &channels)
                if channel.lostUpTo > cursor.sequence || hasVanished && channel.createdAt > cursor.sequence {
                    missed.isComplete = false
                }
                for kept in channel.kept where kept.sequence > cursor.sequence {
                    missed.messages.append((StreamCursor(epoch: streamEpoch, sequence: kept.sequence), kept.message))
                }
            }
        }
        missed.messages.sort { $0.cursor.sequence < $1.cursor.sequence }
        return missed
    }

    // MARK: The table

    private func stripe(of name: ChannelName) -> Stripe {
        stripe(at: Int(UInt(bitPattern: name.hashValue) % UInt(stripes.count)))
    }

    private func stripe(at index: Int) -> Stripe { stripes[index % stripes.count] }

    private func look<Answer>(_ name: ChannelName, _ now: Int64, _ body: (Room?) -> Answer) -> Answer {
        stripe(of: name).channels.withLock { channels in
            if var channel = channels[name], let first = channel.kept.first, first.expiresAt <= now {
                expire(&channel, now)
                store(channel, name, in: &channels)
            }
            return body(channels[name])
        }
    }

    private func change(_ name: ChannelName, _ body: (inout Room) -> Void) {
        stripe(of: name).channels.withLock { channels in
            if channels[name] == nil { channelCount.wrappingAdd(1, ordering: .relaxed) }
            // In place: the channel must not be copied with its history.
            let created = sequence.load(ordering: .relaxed)
            body(&channels[name, default: Room(epoch: makeEpoch(), createdAt: created)])
            if let channel = channels[name], channel.isEmpty { store(channel, name, in: &channels) }
        }
    }

    private func store(_ channel: Room, _ name: ChannelName, in channels: inout [ChannelName: Room]) {
        channels[name] = channel.isEmpty ? nil : channel
        guard channel.isEmpty else { return }
        channelCount.wrappingSubtract(1, ordering: .relaxed)
        if channel.last > vanishedUpTo.load(ordering: .relaxed) {
            vanishedUpTo.store(channel.last, ordering: .relaxed)
        }
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

    private func keep(_ kept: Kept, in channel: inout Room, _ name: ChannelName, _ size: Int, _ now: Int64) {
        expire(&channel, now)
        channel.kept.append(kept)
        historyByteCount.wrappingAdd(kept.bytes, ordering: .relaxed)
        while channel.kept.count > size { dropFirst(&channel) }
        oldest.withLock { $0.append((name, kept.message.offset, channel.epoch)) }
    }

    private func expire(_ channel: inout Room, _ now: Int64) {
        while let first = channel.kept.first, first.expiresAt <= now { dropFirst(&channel) }
    }

    private func dropFirst(_ channel: inout Room) {
        guard let first = channel.kept.popFirst() else { return }
        channel.lostUpTo = first.sequence
        historyByteCount.wrappingSubtract(first.bytes, ordering: .relaxed)
    }

    /// Keeps the budget, and the list of what is oldest as short as what it names.
    private func dropOldest() {
        while true {
            let isOver = historyBytes > maxHistoryBytes
            let next = oldest.withLock { queue in isOver || queue.count > 4096 ? queue.popFirst() : nil }
            guard let next else { return }
            let isStillThere = stripe(of: next.channel).channels.withLock { channels -> Bool in
                guard var channel = channels[next.channel], channel.epoch == next.epoch,
                    let first = channel.kept.first?.message.offset, first <= next.offset
                else { return false }
                guard isOver else { return true }
                while let first = channel.kept.first?.message.offset, first <= next.offset { dropFirst(&channel) }
                store(channel, next.channel, in: &channels)
                return true
            }
            if !isOver, isStillThere {
                oldest.withLock { $0.prepend(next) }
                return
            }
        }
    }
}
