import DequeModule
public import NIOCore

/// History and replay.
extension MemoryChannelBroker {
    /// See ``ChannelBroker``.
    public func history(
        of name: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(ChannelFailure) -> ChannelHistory {
        guard rules.history(of: name).size > 0 else { throw .unknownChannel }
        let now = clock.monotonic()
        let found: Result<ChannelHistory, ChannelFailure> = table.look(name, after: { budget.expire(&$0, now) }) {
            guard let channel = $0 else { return .failure(epoch == nil ? .unknownChannel : .gone) }
            if let epoch, epoch != channel.epoch.description { return .failure(.gone) }
            let messages: [StoredMessage]
            switch part {
            case .newest: messages = channel.kept.suffix(limit).map(\.message)
            case .after(let offset):
                guard let kept = channel.kept(after: offset) else { return .failure(.gone) }
                messages = kept.prefix(limit).map(\.message)
            }
            return .success(ChannelHistory(epoch: channel.epoch, messages: messages))
        }
        return try found.get()
    }

    /// The replay for a subscriber of a locked channel: complete, or without messages.
    func replay(of channel: MemoryChannel, after known: ChannelPosition?, reader: UInt64) -> ChannelReplay {
        let head = position(of: channel)
        guard let known else { return ChannelReplay(messages: [], isComplete: true, upTo: head) }
        guard known.epoch == channel.epoch, let kept = channel.kept(after: known.offset) else {
            return ChannelReplay(messages: [], isComplete: false, upTo: head)
        }
        let messages = kept.filter { reader == 0 || $0.excluded != reader }.map(\.message)
        return ChannelReplay(messages: messages, isComplete: true, upTo: head)
    }

    /// See ``ChannelBroker``.
    public func replay(
        of names: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @Sendable @escaping (Result<Replay, ChannelFailure>) -> Void
    ) {
        completion(.success(collect(names, since: cursor, room: room, overhead: overhead)))
    }

    private func collect(_ names: [ChannelName], since cursor: StreamCursor?, room: Int, overhead: Int) -> Replay {
        let now = clock.monotonic()
        var replay = Replay(messages: [], isComplete: true, upTo: StreamCursor(epoch: streamEpoch, sequence: 0))
        // With event streams the table has a single stripe, so everything below is seen at one moment.
        table.forEachStripe { channels in
            let last = table.lastSequence
            replay.upTo = StreamCursor(epoch: streamEpoch, sequence: last)
            guard let cursor, let known = cursor.sequence(in: streamEpoch), known <= last else {
                replay.isComplete = false
                return
            }
            var histories: [Deque<KeptMessage>] = []
            let hasVanished = table.vanishedUpTo > known
            for name in names {
                table.update(name, in: &channels) { budget.expire(&$0, now) }
                guard let channel = channels[name] else {
                    if hasVanished || table.vanishedUpTo > known { replay.isComplete = false }
                    continue
                }
                if channel.lostUpTo > known || hasVanished && channel.createdAt > known {
                    replay.isComplete = false
                }
                if let last = channel.kept.last, last.sequence > known { histories.append(channel.kept) }
            }
            noteVisits(
                replay.takeNewest(
                    of: histories,
                    since: known,
                    by: cursor.reader,
                    room: room,
                    overhead: overhead,
                    epoch: streamEpoch
                )
            )
        }
        return replay
    }

    /// Removes some of the expired messages; called repeatedly. It stops after a number of them, so that no lock is
    /// contended for long.
    ///
    /// - Returns: The time until the next message expires; nil when none does.
    public func removeExpired() -> TimeAmount? {
        let now = clock.monotonic()
        return removeExpired(at: now).map { .nanoseconds(max($0 &- now, 0)) }
    }

    /// - Returns: When the next one is due; nil while nothing is kept.
    func removeExpired(at now: Int64, atMost count: Int = 2000) -> Int64? {
        for _ in 0..<count {
            guard budget.expireNext(in: table, now) else { break }
            noteVisits(1)
        }
        return budget.nextExpiry
    }
}
