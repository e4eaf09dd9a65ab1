import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Publishes what this node has for the channels, and tells the callers where it is.
final class Publisher {
    /// How long a stored message may take to come back to a node that subscribes to its channel.
    private static let longestReturn = TimeAmount.seconds(1)
    /// The pause before publications that have failed are sent again.
    private static let retryPause = TimeAmount.milliseconds(100)
    private static let tick = TimeAmount.milliseconds(100)
    /// How long idempotency keys hold, in milliseconds.
    private static let idempotencyTime: Int64 = 300_000

    let context: NodeContext
    private let subscriptions: NodeSubscriptions
    private var lanes = Array(repeating: PublishLane(), count: ClusterKeys.tags)
    /// All that have not been answered, or have not come back, by id.
    private var pending: [MessageID: PendingPublication] = [:]
    /// What waits, in bytes.
    private var bytes = 0
    private var isTicking = false
    /// Stored publications that have not come back.
    private var returning: [MessageID: PendingPublication] = [:]
    /// Channels with publications that wait for a subscription.
    private var parkedChannels: Set<ChannelName> = []
    private var retryingTags: Set<Int> = []
    private let lost: LostPublications
    /// When a line was written for each reason.
    private var loggedAt: [ClusterMetrics.PublishFailure: NIODeadline] = [:]

    init(_ context: NodeContext, _ subscriptions: NodeSubscriptions) {
        self.context = context
        self.subscriptions = subscriptions
        lost = LostPublications(context)
    }

    // MARK: From callers

    func publish(
        _ envelope: ChannelEnvelope,
        idempotencyKey: String?,
        _ completion: ChannelBroker.PublishCompletion?
    ) {
        let patience = completion == nil ? context.settings.replyTimeout : context.settings.timeout
        let publication = PendingPublication(
            envelope,
            id: MessageID(.random(in: 1 ... .max)),
            idempotencyKey: idempotencyKey,
            origin: context.publisher,
            deadline: .now() + patience,
            completion: completion
        )
        guard bytes + publication.bytes <= context.settings.maxWaitingBytes else {
            return fail(publication, .full, "Too much is waiting for Redis.")
        }
        bytes += publication.bytes
        pending[publication.id] = publication
        if let subscription = subscriptions.all[publication.channel], subscription.follower.point == nil {
            subscription.parked.append(publication)
            parkedChannels.insert(publication.channel)
            startTicking()
        } else {
            append(publication)
        }
    }

    /// A subscription holds, or has ended, so that what waits for it can be sent.
    func unpark(_ subscription: ChannelSubscription) {
        guard !subscription.parked.isEmpty else { return }
        let parked = subscription.parked
        subscription.parked = []
        parkedChannels.remove(subscription.channel)
        for publication in parked { append(publication) }
    }

    private func append(_ publication: PendingPublication) {
        let tag = ClusterKeys.tag(of: publication.channel)
        lanes[tag].append(publication)
        send(tag)
    }

    // MARK: To the engine

    private func send(_ tag: Int) {
        guard context.publishingClient.isUp(forKey: context.keys.counter(tag)) else {
            if !lanes[tag].waiting.isEmpty { startTicking() }
            return
        }
        var sent: [PendingPublication] = []
        while let publication = lanes[tag].next() {
            send(publication, tag)
            if context.settings.minReplicas > 0 { sent.append(publication) }
        }
        if let first = sent.first { awaitReplicas(of: sent, slotKey: context.keys.head(first.channel)) }
        if !lanes[tag].waiting.isEmpty { startTicking() }
    }

    private func send(_ publication: PendingPublication, _ tag: Int) {
        let (channel, keys) = (publication.channel, context.keys)
        let size = context.rules.historyCount(of: channel)
        var names = [
            keys.head(channel), keys.history(channel), keys.published(tag, by: context.publisher), keys.counter(tag),
            keys.index(tag),
        ]
        if let key = publication.idempotencyKey { names.append(keys.idempotency(key, channel)) }
        var command = RedisCommand.run(
            ClusterScripts.publish,
            keys: names,
            arguments: [
                .text(publication.id.description), .number(Int64(clamping: publication.number ?? 0)),
                .number(Int64(clamping: size)),
                .number(max(1, context.rules.historyTTL(of: channel).nanoseconds / 1_000_000)), .text(.newEpoch()),
                .number(context.keepTime(of: channel)),
                .text(context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH"), .text(keys.topic(channel)),
                .bytes(publication.body), .text(channel.text), .number(Self.idempotencyTime),
                .text(keys.historyStem(tag)), .text(keys.nodesStem(tag)),
            ]
        )
        command.followsRedirects = false
        command.timeout = min(max(publication.deadline - .now(), .milliseconds(1)), context.settings.timeout)
        let sentAt = NIODeadline.now()
        context.publishingClient.send(command) { [weak self] in self?.answered(publication, tag, $0, sentAt) }
    }

    private func answered(
        _ publication: PendingPublication,
        _ tag: Int,
        _ result: Result<RESPValue, RedisFailure>,
        _ sentAt: NIODeadline
    ) {
        switch result {
        case .success(let value):
            lanes[tag].ended(publication)
            stored(publication, value, sentAt)
        case .failure(.refused(let reply)):
            lanes[tag].ended(publication)
            log(publication, .refused, reply.sentence)
            fail(publication, reply.isWithinScript ? .unknown : .refused, reply.sentence)
        case .failure(.notSent(.closed)):
            lanes[tag].ended(publication)
            fail(publication, publication.mayBePublished ? .unknown : .engineAway, "Sidesocket is stopping.")
        case .failure(let failure):
            if case .unknown = failure { publication.mayBePublished = true }
            if publication.deadline <= .now() {
                lanes[tag].ended(publication)
                expire(publication, failure.sentence)
            } else {
                lanes[tag].failed(publication)
            }
            return sendLater(tag)
        }
        send(tag)
    }

    private func sendLater(_ tag: Int) {
        startTicking()
        guard retryingTags.insert(tag).inserted else { return }
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { [weak self] in
            self?.retryingTags.remove(tag)
            self?.send(tag)
        }
    }

    /// The engine has connected, perhaps to another server: what waits need not wait longer.
    func connected() {
        // First, since what is sent now takes the places of what was sent before.
        lost.connected()
        for tag in lanes.indices { send(tag) }
    }

    /// Looks again at what may be lost, and was not found out or told.
    func checkAgain() { lost.checkAgain() }

    // MARK: Answers

    private func stored(_ publication: PendingPublication, _ value: RESPValue, _ sentAt: NIODeadline) {
        let text = value.text ?? ""
        let isRepeat = text.hasPrefix("= ")
        guard let stamp = PublicationStamp(isRepeat ? text.dropFirst(2) : text[...]) else {
            return fail(publication, .unknown, AnswerFault.wrongShape.sentence)
        }
        let position = stamp.point.position(in: publication.channel)
        if isRepeat {
            if let report = publication.envelope.report { context.link.node?.wasRepeat(report: report) }
            return finish(publication, .success(position))
        }
        context.clock.learned(stamp.time, roundTrip: .now() - sentAt)
        if context.settings.minReplicas > 0 {
            publication.stamp = stamp
        } else {
            stored(publication, stamp)
        }
    }

    private func stored(_ publication: PendingPublication, _ stamp: PublicationStamp) {
        lost.confirmed(publication, at: stamp.time)
        let position = stamp.point.position(in: publication.channel)
        // Who waits is also told who got it here, so the message has to have come.
        guard !publication.isReceived, isAwaited(stamp.point, in: publication.channel) else {
            return finish(publication, .success(position))
        }
        publication.position = position
        publication.givenUpAt = .now() + Self.longestReturn
        returning[publication.id] = publication
        startTicking()
    }

    /// Whether a message will still come to this node.
    private func isAwaited(_ point: ChannelPoint, in channel: ChannelName) -> Bool {
        guard let known = subscriptions.all[channel]?.follower.point else { return false }
        return known.epoch == point.epoch && known.offset < point.offset
    }

    /// Waits until so many replicas have what was sent before (`CLUSTER_MIN_REPLICAS`); the answer comes after those of
    /// the publications.
    private func awaitReplicas(of publications: [PendingPublication], slotKey: String) {
        let wanted = Int64(clamping: context.settings.minReplicas)
        let timeout = context.settings.timeout
        var command = RedisCommand(
            "WAIT",
            [.number(wanted), .number(max(1, timeout.nanoseconds * 4 / 5 / 1_000_000))],
            slotKey: slotKey
        )
        command.followsRedirects = false
        command.timeout = timeout
        context.publishingClient.send(command) { [weak self] result in
            let count = (try? result.get())?.integer ?? 0
            for publication in publications {
                guard let stamp = publication.stamp else { continue }
                if count >= wanted {
                    self?.stored(publication, stamp)
                } else {
                    self?.fail(
                        publication,
                        .tooFewReplicas,
                        "Only \(count) of \(wanted) replicas (CLUSTER_MIN_REPLICAS) have it; it may be delivered."
                    )
                }
            }
        }
    }

    /// A message of this node has come back.
    ///
    /// - Returns: The envelope with the publisher's own object; nil when nobody waits for it.
    func received(_ id: MessageID) -> ChannelEnvelope? {
        guard let publication = pending[id] else { return nil }
        publication.isReceived = true
        return publication.envelope
    }

    /// It has been passed on to the subscribers.
    func passedOn(_ id: MessageID) {
        guard let publication = returning[id], let position = publication.position else { return }
        finish(publication, .success(position))
    }

    private func finish(_ publication: PendingPublication, _ result: Result<ChannelPosition, ChannelFailure>) {
        guard forget(publication) else { return }
        publication.completion?(result)
    }

    /// Nobody waits for a publication any more; false when that is known already.
    @discardableResult
    private func forget(_ publication: PendingPublication) -> Bool {
        guard pending.removeValue(forKey: publication.id) != nil else { return false }
        returning[publication.id] = nil
        bytes -= publication.bytes
        return true
    }

    private func fail(_ publication: PendingPublication, _ reason: ClusterMetrics.PublishFailure, _ why: String) {
        context.metrics.publishFailed(reason)
        log(publication, reason, why)
        forget(publication)
        let failure: ChannelFailure =
            switch reason {
            case .unknown: .unknown(why)
            case .tooFewReplicas: .tooFewReplicas
            case .engineAway, .refused, .full: .unavailable(why)
            }
        publication.completion?(.failure(failure))
    }

    /// A line a minute for each reason. Who waits for a publication hears by the answer that the engine is away.
    private func log(_ publication: PendingPublication, _ reason: ClusterMetrics.PublishFailure, _ why: String) {
        if publication.completion != nil, reason == .engineAway || reason == .unknown { return }
        let now = NIODeadline.now()
        if let last = loggedAt[reason], now - last < .minutes(1) { return }
        loggedAt[reason] = now
        context.warn(
            "publications fail",
            ["channel": "\(publication.channel.text)", "reason": "\(reason.rawValue)", "why": "\(why)"]
        )
    }

    private func expire(_ publication: PendingPublication, _ why: String) {
        fail(publication, publication.mayBePublished ? .unknown : .engineAway, why)
    }

    // MARK: Time

    private func startTicking() {
        guard !isTicking else { return }
        isTicking = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.tick) { [weak self] in self?.ticked() }
    }

    private func ticked() {
        isTicking = false
        let now = NIODeadline.now()
        for tag in lanes.indices {
            for publication in lanes[tag].takeExpired(now) { expire(publication, "Redis was away for too long.") }
            send(tag)
        }
        for channel in parkedChannels {
            guard let subscription = subscriptions.all[channel], !subscription.parked.isEmpty else {
                parkedChannels.remove(channel)
                continue
            }
            for publication in subscription.parked where publication.deadline <= now {
                expire(publication, "The subscription to the channel does not hold.")
            }
            subscription.parked.removeAll { $0.deadline <= now }
        }
        for publication in returning.values where publication.givenUpAt ?? now <= now {
            if let position = publication.position { finish(publication, .success(position)) }
        }
        if !parkedChannels.isEmpty || !returning.isEmpty || lanes.contains(where: { !$0.waiting.isEmpty }) {
            startTicking()
        }
    }

    /// Gives up what was not sent, since the process ends. What was sent has its answer when the client is closed.
    func stop() {
        let why = "Sidesocket is stopping."
        for tag in lanes.indices { for publication in lanes[tag].takeAll() { expire(publication, why) } }
        for channel in parkedChannels {
            guard let subscription = subscriptions.all[channel] else { continue }
            for publication in subscription.parked { expire(publication, why) }
            subscription.parked = []
        }
        for publication in returning.values {
            if let position = publication.position { finish(publication, .success(position)) }
        }
    }
}
