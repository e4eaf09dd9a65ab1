import Synchronization

/// Channels in the memory of this process; the default ``ChannelBroker``, which answers at once.
///
/// The table of channels is striped by name. Channels with a history share one more lock, since the byte budget covers
/// all of them. `received` is called under the channel's lock, and so in the order of the positions.
public final class MemoryChannelBroker: ChannelBroker {
    private let events: any ChannelBrokerEvents
    let rules: ChannelRules
    let clock: ChannelClock
    let table: MemoryChannelTable
    let budget: HistoryBudget
    /// The epoch of the cursors; 0 without event streams.
    let streamEpoch: UInt64
    private let visitCount = Atomic<Int>(0)

    /// A broker without channels.
    ///
    /// - Parameters:
    ///   - maxHistoryBytes: What all histories may hold; beyond that the oldest messages are dropped.
    ///   - servesStreams: Whether positions need one order over all channels, as the cursors of event streams do; then
    ///     the table has a single stripe.
    ///   - makeEpoch: Returns random bits; called once for each channel.
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

    /// See ``ChannelBroker``; the id is ignored.
    public func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?) {
        let publication = envelope.publication
        let limits = rules.history(of: publication.channel)
        let isKept = limits.size > 0
        let (now, time) = isKept ? (clock.monotonic(), clock.unixMilliseconds()) : (0, 0)
        let (position, isReceived) = table.change(publication.channel) { channel in
            channel.offset += 1
            let sequence = table.nextSequence()
            let position = ChannelPosition(
                offset: channel.offset,
                epoch: channel.epoch,
                mark: .process(epoch: streamEpoch, sequence: sequence)
            )
            if isKept {
                let kept = KeptMessage(
                    message: StoredMessage(
                        offset: channel.offset,
                        id: position.id,
                        time: time,
                        format: publication.format,
                        payload: publication.payload,
                        event: publication.event
                    ),
                    expiresAt: now &+ limits.ttl,
                    sequence: sequence,
                    excluded: envelope.excluded?.reader ?? 0
                )
                budget.expire(&channel, now)
                budget.keep(kept, in: &channel, publication.channel, limits)
            } else {
                channel.lostUpTo = sequence
            }
            if channel.isSubscribed { events.received(envelope, at: position, time: isKept ? time : nil) }
            return (position, channel.isSubscribed)
        }
        if isKept { budget.enforce(in: table) }
        if isReceived { events.receiveComplete() }
        completion?(.success(position))
    }

    /// See ``ChannelBroker``.
    public func broadcast(
        _ event: ClientBroadcast,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) {
        events.received(event)
        events.receiveComplete()
        completion(.success(()))
    }

    /// See ``ChannelBroker``; there is no other node.
    public func announce(_ notice: MemberNotice, failed: @escaping @Sendable () -> Void) {}

    /// See ``ChannelBroker``.
    public func subscribe(
        _ name: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    ) {
        let now = position == nil ? 0 : clock.monotonic()
        let found = table.change(name) { channel -> ChannelReplay? in
            if !channel.isSubscribed {
                channel.isSubscribed = true
                events.occupancyChanged(name, isOccupied: true)
            }
            guard completion != nil else { return nil }
            budget.expire(&channel, now)
            return replay(of: channel, after: position, reader: reader)
        }
        if let found { completion?(.success(found)) }
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
            // Only `limit` channels can be returned, so the list need not grow far beyond that.
            if found.count > 4 * limit { found = Array(found.sorted { $0.channel < $1.channel }.prefix(limit)) }
        }
        return Array(found.sorted { $0.channel < $1.channel }.prefix(limit))
    }

    /// See ``ChannelBroker``.
    public var ordersEachChannel: Bool { false }

    /// See ``ChannelBroker``.
    public var statistics: ChannelBrokerStatistics {
        ChannelBrokerStatistics(channels: table.count, historyBytes: budget.bytes)
    }

    /// The position of a channel's last message.
    func position(of channel: MemoryChannel) -> ChannelPosition {
        ChannelPosition(
            offset: channel.offset,
            epoch: channel.epoch,
            mark: .process(epoch: streamEpoch, sequence: channel.last)
        )
    }

    /// The number of messages examined for expiry and replay; for tests.
    var visits: Int { visitCount.load(ordering: .relaxed) }

    func noteVisits(_ count: Int) { visitCount.wrappingAdd(count, ordering: .relaxed) }
}
