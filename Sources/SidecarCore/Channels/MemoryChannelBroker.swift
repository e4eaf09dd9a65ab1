import Synchronization

/// What time it is for a broker in memory.
public struct ChannelClock: Sendable {
    /// Nanoseconds that only grow.
    let monotonic: @Sendable () -> Int64
    /// Milliseconds since 1970.
    let unixMilliseconds: @Sendable () -> Int64

    /// Makes one.
    public init(
        monotonic: @escaping @Sendable () -> Int64,
        unixMilliseconds: @escaping @Sendable () -> Int64
    ) {
        self.monotonic = monotonic
        self.unixMilliseconds = unixMilliseconds
    }
}

/// Channels in the memory of this process; the default ``ChannelBroker``, which answers at once.
///
/// The table of channels is striped by name. A history that is on has one lock beside, since its budget is one for all
/// channels. A message is received while the lock of its channel is held, so in the order of the places.
public final class MemoryChannelBroker: ChannelBroker {
    private let events: any ChannelBrokerEvents
    let rules: ChannelRules
    let clock: ChannelClock
    let table: MemoryChannelTable
    let budget: HistoryBudget
    /// Of the cursors; 0 without event streams.
    let streamEpoch: UInt64
    private let visitCount = Atomic<Int>(0)

    /// A broker without channels.
    ///
    /// - Parameters:
    ///   - maxHistoryBytes: What all histories may hold; the oldest messages fall out.
    ///   - servesStreams: Whether places have one order over all channels, as the cursors of event streams need it; then
    ///     the table is in one part.
    ///   - makeEpoch: Random bits, anew for each channel.
    public init(
        events: any ChannelBrokerEvents,
        rules: ChannelRules,
        maxHistoryBytes: Int,
        servesStreams: Bool,
        clock: ChannelClock,
        makeEpoch: @escaping @Sendable () -> UInt64
    ) {
        self.events = events
        self.rules = rules
        self.clock = clock
        streamEpoch = servesStreams ? makeEpoch() : 0
        table = MemoryChannelTable(stripes: servesStreams ? 1 : 64, makeEpoch: makeEpoch)
        budget = HistoryBudget(maxBytes: maxHistoryBytes)
    }

    /// See ``ChannelBroker``; the id is not looked at.
    public func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?) {
        let publication = envelope.publication
        let limits = rules.history(of: publication.channel)
        let isKept = limits.size > 0
        let (now, time) = isKept ? (clock.monotonic(), clock.unixMilliseconds()) : (0, 0)
        let (position, isReceived) = table.change(publication.channel) { channel in
            channel.offset += 1
            let position = ChannelPosition(
                offset: channel.offset,
                epoch: channel.epoch,
                cursor: StreamCursor(epoch: streamEpoch, sequence: table.nextPlace())
            )
            if isKept {
                let kept = KeptMessage(
                    message: StoredMessage(
                        offset: channel.offset,
                        time: time,
                        format: publication.format,
                        payload: publication.payload,
                        event: publication.event
                    ),
                    expiresAt: now &+ limits.ttl,
                    sequence: position.cursor.sequence,
                    excluded: envelope.excluded?.reader ?? 0
                )
                budget.expire(&channel, now)
                budget.keep(kept, in: &channel, publication.channel, limits)
            } else {
                channel.lostUpTo = position.cursor.sequence
            }
            if channel.isSubscribed { events.received(envelope, at: position) }
            return (position, channel.isSubscribed)
        }
        if isKept { budget.enforce(in: table) }
        if isReceived { events.receiveComplete() }
        completion?(.success(position))
    }

    /// See ``ChannelBroker``.
    public func subscribe(
        _ name: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    ) {
        let now = position == nil ? 0 : clock.monotonic()
        let missed = table.change(name) { channel -> ChannelReplay? in
            if !channel.isSubscribed {
                channel.isSubscribed = true
                events.occupancyChanged(name, isOccupied: true)
            }
            guard completion != nil else { return nil }
            budget.expire(&channel, now)
            return replay(of: channel, after: position, reader: reader)
        }
        if let missed { completion?(.success(missed)) }
    }

    /// See ``ChannelBroker``.
    public func unsubscribe(_ name: ChannelName) {
        table.update(name) { channel in
            guard channel.isSubscribed else { return }
            channel.isSubscribed = false
            events.occupancyChanged(name, isOccupied: false)
        }
    }

    /// See ``ChannelBroker``.
    public func head(of name: ChannelName) async throws(ChannelFailure) -> ChannelHead {
        let now = clock.monotonic()
        let head = table.look(name, after: { budget.expire(&$0, now) }) { channel in
            channel.map { ChannelHead(channel: name, position: position(of: $0)) }
        }
        guard let head else { throw .unknownChannel }
        return head
    }

    /// See ``ChannelBroker``.
    public func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelHead] {
        let now = clock.monotonic()
        while let due = removeExpired(at: now), due <= now {}
        var found: [ChannelHead] = []
        table.forEachStripe { channels in
            for (name, channel) in channels where name.text.hasPrefix(prefix) && name.text > after ?? "" {
                found.append(ChannelHead(channel: name, position: position(of: channel)))
            }
            // No more than asked for is ever of use.
            if found.count > 4 * limit { found = Array(found.sorted { $0.channel < $1.channel }.prefix(limit)) }
        }
        return Array(found.sorted { $0.channel < $1.channel }.prefix(limit))
    }

    /// See ``ChannelBroker``.
    public var statistics: ChannelBrokerStatistics {
        ChannelBrokerStatistics(channels: table.count, historyBytes: budget.bytes)
    }

    /// The place of the last message of a channel.
    func position(of channel: MemoryChannel) -> ChannelPosition {
        ChannelPosition(
            offset: channel.offset,
            epoch: channel.epoch,
            cursor: StreamCursor(epoch: streamEpoch, sequence: channel.last)
        )
    }

    /// Messages that were looked at to forget them or to say what was missed; for tests.
    var visits: Int { visitCount.load(ordering: .relaxed) }

    func noteVisits(_ count: Int) { visitCount.wrappingAdd(count, ordering: .relaxed) }
}
