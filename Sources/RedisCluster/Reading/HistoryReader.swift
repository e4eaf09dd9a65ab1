import NIOCore
import RedisClient
import SidecarCore

/// Reads what the engine, or this node, keeps of channels.
final class HistoryReader {
    /// The most bytes of one replay.
    private static let mostReplayBytes = 16 << 20
    private static let mostHistoryBytes: Int64 = 16 << 20
    /// How many names of a tag are looked at in one step.
    private static let namesAtOnce: Int64 = 1_000
    private static let tick = TimeAmount.milliseconds(100)

    private let context: NodeContext
    private let subscriptions: NodeSubscriptions
    private var waiting: Set<ChannelName> = []
    private var isTicking = false

    init(_ context: NodeContext, _ subscriptions: NodeSubscriptions) {
        self.context = context
        self.subscriptions = subscriptions
    }

    // MARK: Subscribers

    /// Answers a subscriber when the subscription holds.
    func answer(
        _ subscription: ChannelSubscription,
        after known: KnownPoint?,
        reader: UInt64,
        _ completion: @escaping @Sendable (Result<ChannelReplay, ChannelFailure>) -> Void
    ) {
        let waiter = ChannelSubscription.Waiter(
            known: known,
            reader: reader,
            deadline: .now() + context.settings.timeout,
            completion: completion
        )
        if subscription.follower.point != nil { return answer(waiter, of: subscription) }
        guard context.client.isUp else {
            subscription.owesResumption = true
            return completion(.failure(.unavailable("Redis is away.")))
        }
        subscription.waiters.append(waiter)
        waiting.insert(subscription.channel)
        startTicking()
    }

    /// The subscription holds.
    func answerWaiters(of subscription: ChannelSubscription) {
        let waiters = subscription.waiters
        subscription.waiters = []
        for waiter in waiters { answer(waiter, of: subscription) }
    }

    /// The subscription has ended.
    func failWaiters(of subscription: ChannelSubscription) {
        let waiters = subscription.waiters
        subscription.waiters = []
        for waiter in waiters { waiter.completion(.failure(.unavailable("The subscription has ended."))) }
    }

    /// The process ends.
    func stop() { for channel in waiting { if let one = subscriptions.all[channel] { failWaiters(of: one) } } }

    private func answer(_ waiter: ChannelSubscription.Waiter, of subscription: ChannelSubscription) {
        guard let point = subscription.follower.point else {
            subscription.owesResumption = true
            return waiter.completion(.failure(.unavailable("The subscription does not hold.")))
        }
        let channel = subscription.channel
        guard let known = waiter.known, !known.matches(point) else {
            let upTo = point.position(in: channel)
            return waiter.completion(.success(ChannelReplay(messages: [], isComplete: true, upTo: upTo)))
        }
        let reader = waiter.reader
        replay(channel, after: known, room: Self.mostReplayBytes, overhead: 0) { answer in
            waiter.completion(
                answer.map { replay in
                    // The engine may be ahead: what has not been received here yet comes live.
                    let received = subscription.follower.point ?? point
                    let head = replay.head ?? received
                    let upTo = head.epoch == received.epoch && head.offset < received.offset ? head : received
                    let isComplete = replay.isComplete && head.epoch == received.epoch
                    let messages = replay.messages.filter { $0.point.offset <= upTo.offset && !$0.excludes(reader) }
                    return ChannelReplay(
                        messages: isComplete ? messages.map(\.stored) : [],
                        isComplete: isComplete,
                        upTo: upTo.position(in: channel)
                    )
                }
            )
        }
    }

    private func startTicking() {
        guard !isTicking else { return }
        isTicking = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.tick) { [weak self] in self?.ticked() }
    }

    private func ticked() {
        isTicking = false
        let now = NIODeadline.now()
        for channel in waiting {
            guard let subscription = subscriptions.all[channel], !subscription.waiters.isEmpty else {
                waiting.remove(channel)
                continue
            }
            let late = subscription.waiters.filter { $0.deadline <= now }
            subscription.waiters.removeAll { $0.deadline <= now }
            if !late.isEmpty { subscription.owesResumption = true }
            for waiter in late { waiter.completion(.failure(.unavailable("Redis did not answer in time."))) }
        }
        if !waiting.isEmpty { startTicking() }
    }

    // MARK: Replays

    /// The messages of one channel after a known one.
    struct ChannelPart {
        /// The last message; nil when the channel has never had one.
        var head: ChannelPoint?
        var messages: [MessageFrame]
        var isComplete: Bool
    }

    /// Reads what follows a known message, here or at the engine.
    private func replay(
        _ channel: ChannelName,
        after known: KnownPoint,
        room: Int,
        overhead: Int,
        _ completion: @escaping (Result<ChannelPart, ChannelFailure>) -> Void
    ) {
        let ttl = context.rules.historyTTL(of: channel).nanoseconds / 1_000_000
        if let subscription = subscriptions.all[channel], let point = subscription.follower.point {
            if known.matches(point) {
                return completion(.success(ChannelPart(head: point, messages: [], isComplete: true)))
            }
            if let recent = subscription.recent.after(known, oldest: context.clock.now &- ttl) {
                let bytes = recent.reduce(0) { $0 + $1.body.payload.readableBytes + overhead }
                if bytes <= room {
                    return completion(.success(ChannelPart(head: point, messages: Array(recent), isComplete: true)))
                }
            }
        }
        let command = RedisCommand.run(
            ClusterScripts.replay,
            keys: [context.keys.head(channel), context.keys.history(channel)],
            arguments: [
                .text(known.epoch?.description ?? ""), .text("\(known.offset)"), .text(known.id), .number(ttl),
                .number(Int64(clamping: room)), .number(Int64(clamping: overhead)),
            ]
        )
        context.client.send(command) { completion(Self.part($0)) }
    }

    private static func part(_ result: Result<RESPValue, RedisFailure>) -> Result<ChannelPart, ChannelFailure> {
        read(result) { value throws(AnswerFault) in
            guard let items = value.items, items.count == 5, let epoch = items[0].text, let offset = items[1].text,
                let id = items[2].text, let isComplete = items[3].integer, let frames = items[4].items
            else { throw .wrongShape }
            let head = ChannelPoint(epoch, offset, id)
            guard head != nil || epoch.isEmpty else { throw .wrongShape }
            return ChannelPart(
                head: head,
                messages: try MessageFrame.list(frames).reversed(),
                isComplete: isComplete == 1
            )
        }
    }

    private static func read<Answer>(
        _ result: Result<RESPValue, RedisFailure>,
        _ body: (RESPValue) throws(AnswerFault) -> Answer
    ) -> Result<Answer, ChannelFailure> {
        switch result {
        case .success(let value):
            do throws(AnswerFault) { return .success(try body(value)) } catch {
                return .failure(.unavailable(error.sentence))
            }
        case .failure(let failure): return .failure(.unavailable(failure.sentence))
        }
    }

    /// What was published to the channels of an event stream after a cursor.
    func replay(
        of channels: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void
    ) {
        let collection = ReplayCollection(channels, reader: cursor?.reader ?? 0, room, overhead, completion)
        for (index, channel) in channels.enumerated() {
            guard let known = cursor?.mark(of: channel).map(KnownPoint.init) else {
                // A channel that the stream was not in begins now; without a cursor of ours, something may be missing.
                let isNew = if case .channels? = cursor?.place { true } else { false }
                begin(channel, isComplete: isNew) { collection.add($0, at: index) }
                continue
            }
            guard let known else {
                begin(channel, isComplete: false) { collection.add($0, at: index) }
                continue
            }
            replay(channel, after: known, room: room, overhead: overhead) { collection.add($0, at: index) }
        }
        collection.start()
    }

    /// Reads where a channel is now.
    private func begin(
        _ channel: ChannelName,
        isComplete: Bool,
        _ completion: @escaping (Result<ChannelPart, ChannelFailure>) -> Void
    ) {
        if let point = subscriptions.all[channel]?.follower.point {
            return completion(.success(ChannelPart(head: point, messages: [], isComplete: isComplete)))
        }
        look(channel) { answer in
            switch answer {
            case .success(let point):
                completion(.success(ChannelPart(head: point, messages: [], isComplete: isComplete)))
            case .failure(.unknownChannel):
                completion(.success(ChannelPart(head: nil, messages: [], isComplete: isComplete)))
            case .failure(let failure): completion(.failure(failure))
            }
        }
    }

    // MARK: The API

    /// The last message of a channel.
    func look(_ channel: ChannelName, _ completion: @escaping (Result<ChannelPoint, ChannelFailure>) -> Void) {
        let keys = context.keys
        let command = RedisCommand.run(
            ClusterScripts.look,
            keys: [keys.head(channel), keys.history(channel), keys.nodes(channel)],
            arguments: []
        )
        context.client.send(command) { result in
            let point = Self.read(result) { value throws(AnswerFault) -> ChannelPoint? in
                guard let items = value.items else { throw .wrongShape }
                if items.isEmpty { return nil }
                guard items.count == 3, let epoch = items[0].text, let offset = items[1].text, let id = items[2].text,
                    let point = ChannelPoint(epoch, offset, id)
                else { throw .wrongShape }
                return point
            }
            completion(point.flatMap { $0.map { .success($0) } ?? .failure(.unknownChannel) })
        }
    }

    /// A part of a history.
    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int,
        _ completion: @escaping (Result<ChannelHistory, ChannelFailure>) -> Void
    ) {
        guard context.rules.historyCount(of: channel) > 0 else { return completion(.failure(.unknownChannel)) }
        let from =
            switch part {
            case .newest: "newest"
            case .after(nil): "oldest"
            case .after(let offset?): "\(offset)"
            }
        let keys = context.keys
        let command = RedisCommand.run(
            ClusterScripts.history,
            keys: [keys.head(channel), keys.history(channel), keys.nodes(channel)],
            arguments: [
                .text(from), .number(Int64(clamping: limit)),
                .number(context.rules.historyTTL(of: channel).nanoseconds / 1_000_000), .number(Self.mostHistoryBytes),
            ]
        )
        context.client.send(command) { result in
            let found = Self.read(result) { value throws(AnswerFault) -> Result<ChannelHistory, ChannelFailure> in
                guard let items = value.items, items.count == 5, let text = items[0].text,
                    let exists = items[2].integer, let isKept = items[3].integer, let frames = items[4].items
                else { throw .wrongShape }
                guard !text.isEmpty, exists == 1 || epoch != nil else {
                    return .failure(epoch == nil ? .unknownChannel : .gone)
                }
                guard let bits = UInt64(text, radix: 36) else { throw .wrongShape }
                guard isKept == 1, epoch ?? text == text else { return .failure(.gone) }
                let messages = try MessageFrame.list(frames).map(\.stored)
                return .success(ChannelHistory(epoch: ChannelEpoch(bits), messages: messages))
            }
            completion(found.flatMap(\.self))
        }
    }

    /// The channels of a prefix by name.
    func channels(
        prefix: String,
        after: String?,
        limit: Int,
        _ completion: @escaping (Result<[ChannelHead], ChannelFailure>) -> Void
    ) {
        let listing = ChannelListing(prefix: prefix, after: after, limit: limit, completion)
        for tag in 0..<ClusterKeys.tags { list(tag, from: listing.first, into: listing) }
    }

    private func list(_ tag: Int, from first: String, into listing: ChannelListing) {
        let keys = context.keys
        let command = RedisCommand.run(
            ClusterScripts.list,
            keys: [keys.index(tag)],
            arguments: [
                .text(first), .number(Self.namesAtOnce), .text(keys.headStem(tag)), .text(keys.historyStem(tag)),
                .text(keys.nodesStem(tag)),
            ]
        )
        context.client.send(command) { [weak self] result in
            let page = Self.read(result) { value throws(AnswerFault) in try ChannelListing.Page(value) }
            if let next = listing.add(page, of: tag) { self?.list(tag, from: next, into: listing) }
        }
    }
}
