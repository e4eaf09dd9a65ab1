import CoreMetrics
import DequeModule
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// The channels that this node subscribes to.
final class NodeSubscriptions {
    /// The most questions under way; the others wait, so that none times out behind too many.
    private static let mostQuestions = 500
    /// The most messages, and their bytes, of one answer.
    private static let mostMessages: Int64 = 500
    private static let mostBytes: Int64 = 4 << 20
    /// The longest delay that is measured, in milliseconds.
    private static let longestLag: Int64 = 86_400_000
    /// The pause before a question that has failed is asked again.
    private static let retryPause = TimeAmount.milliseconds(200)

    private let context: NodeContext
    private(set) var all: [ChannelName: ChannelSubscription] = [:]
    private var toAsk: Deque<ChannelSubscription> = []
    private var underWay = 0
    /// Channels that this node has left, and the engine may not know it; true for those that it did not know at all when
    /// it was told, perhaps because it was emptied meanwhile.
    private var departed: [ChannelName: Bool] = [:]
    private var recentBytes = 0
    /// Publishes what has waited for a subscription, and knows this node's own messages.
    weak var publisher: Publisher?
    /// Answers those who have waited for a subscription.
    weak var reader: HistoryReader?
    private var hasReceived = false

    init(_ context: NodeContext) {
        self.context = context
    }

    // MARK: Subscribers

    /// Subscribes, if it has not yet.
    func subscribe(_ channel: ChannelName) -> ChannelSubscription {
        if let subscription = all[channel] { return subscription }
        let subscription = ChannelSubscription(channel, isDelayed: !context.client.isUp)
        all[channel] = subscription
        context.client.subscribe([RedisChannel(name: context.keys.topic(channel))])
        return subscription
    }

    func unsubscribe(_ channel: ChannelName) {
        guard let subscription = all.removeValue(forKey: channel) else { return }
        recentBytes -= subscription.recent.bytes
        // The question is what enters it.
        let hasEntered = subscription.question > 0
        subscription.question &+= 1
        publisher?.unpark(subscription)
        reader?.failWaiters(of: subscription)
        context.client.unsubscribe([RedisChannel(name: context.keys.topic(channel))])
        if hasEntered { leave(channel, isFirst: true) }
    }

    /// Tells the engine that this node has left a channel.
    private func leave(_ channel: ChannelName, isFirst: Bool) {
        let wasUnknown = departed[channel] ?? false
        let keys = context.keys
        let command = RedisCommand.run(
            ClusterScripts.leave,
            keys: [keys.nodes(channel), keys.channels(ClusterKeys.tag(of: channel), of: context.incarnation)]
                + owedEvents(of: channel),
            arguments: [.text(channel.text), .text(context.incarnation), .text(wasUnknown ? "1" : "0")]
        )
        departed[channel] = wasUnknown
        // Over the same connection as the question that entered it, so that one cannot overtake the other.
        context.client.sendOnSubscriber(command) { [weak self] result in
            guard let self, case .success(let answer) = result else { return }  // tried again with the next connection
            if answer.integer == 1 {
                departed[channel] = nil
                context.events.occupancyChanged(channel, isOccupied: false)
            } else if isFirst || wasUnknown || !context.settings.channelEvents {
                departed[channel] = nil
            } else {
                // The other nodes get time to enter again before the app is told that nobody is there.
                departed[channel] = true
            }
        }
    }

    /// Where it is kept what the app has to be told of a channel; nothing without `CHANNEL_EVENTS`.
    private func owedEvents(of channel: ChannelName) -> [String] {
        guard context.settings.channelEvents else { return [] }
        return [context.keys.owedEvents(ClusterKeys.tag(of: channel), of: context.incarnation)]
    }

    /// The app has been told of a channel, or need not be.
    func told(of channel: ChannelName, isOccupied: Bool) {
        let command = RedisCommand.run(
            ClusterScripts.told,
            keys: owedEvents(of: channel),
            arguments: [.text(channel.text), .text(isOccupied ? "o" : "v")]
        )
        // If it stays, another node may tell the app once more when this one is lost.
        if context.settings.channelEvents { context.client.send(command) { _ in } }
    }

    // MARK: The engine

    func subscribed(_ topic: String) {
        guard let channel = context.keys.channel(ofTopic: topic), let subscription = all[channel] else { return }
        perform(subscription.follower.subscribed(), on: subscription)
    }

    func interrupted(_ topics: [String]) {
        for topic in topics {
            guard let channel = context.keys.channel(ofTopic: topic), let subscription = all[channel] else { continue }
            _ = subscription.follower.interrupted()
        }
        context.events.interrupted()
    }

    /// Tells the engine again of the channels that were left while it was away.
    func leaveDeparted() {
        departed = departed.filter { all[$0.key] == nil }
        for channel in departed.keys { leave(channel, isFirst: false) }
    }

    func received(_ topic: String, _ payload: ByteBuffer) {
        guard let channel = context.keys.channel(ofTopic: topic), let subscription = all[channel] else { return }
        do throws(FrameFault) {
            if ClientEventFrame.isOne(payload) {
                hasReceived = true
                return context.events.received(try ClientEventFrame.read(payload, of: channel))
            }
            if MemberFrame.isOne(payload) {
                let (notice, node) = try MemberFrame.read(payload, of: channel)
                if node != context.incarnation { context.events.received(notice, from: node) }
                return
            }
            perform(subscription.follower.received(try MessageFrame(payload)), on: subscription)
        } catch {
            context.warn(
                "a message from the engine cannot be read",
                ["channel": "\(channel.text)", "why": "\(error.sentence)"]
            )
            // What it stands for is missing, which a question finds out.
            perform(subscription.follower.suspect(), on: subscription)
        }
    }

    /// The end of a burst.
    func receiveComplete() {
        guard hasReceived else { return }
        hasReceived = false
        context.events.receiveComplete()
    }

    /// The engine may have lost messages of these channels.
    func suspect(where isSuspect: (ChannelName) -> Bool) {
        for (channel, subscription) in all where isSuspect(channel) {
            perform(subscription.follower.suspect(), on: subscription)
        }
    }

    /// Asks about channels whose head has not been refreshed for long.
    ///
    /// - Parameter limit: The most channels.
    func refresh(_ limit: Int) {
        let due = NIODeadline.now() - NodeContext.refreshInterval
        var count = 0
        for subscription in all.values where subscription.refreshedAt <= due {
            guard count < limit else { return }
            count += 1
            perform(subscription.follower.suspect(), on: subscription)
        }
    }

    private func perform(_ action: ChannelFollower.Action, on subscription: ChannelSubscription) {
        switch action {
        case .nothing: break
        case .ask: ask(subscription)
        case .deliver(let frame): deliver(frame, of: subscription)
        }
    }

    private func deliver(_ frame: MessageFrame, of subscription: ChannelSubscription) {
        let channel = subscription.channel
        let limit = context.rules.historyCount(of: channel)
        if limit > 0 {
            let old = subscription.recent.bytes
            let room = max(0, context.settings.maxRecentBytes - recentBytes + old)
            subscription.recent.append(frame, limit: limit, room: room)
            recentBytes += subscription.recent.bytes - old
        }
        hasReceived = true
        let isOwn = frame.body.origin == context.publisher
        let own = isOwn ? publisher?.received(frame.point.id) : nil
        if !isOwn, let age = context.clock.age(of: frame.time) {
            context.metrics.lag.recordNanoseconds(min(age, Self.longestLag) * 1_000_000)
        }
        context.events.received(
            own ?? frame.envelope(in: channel),
            at: frame.point.position(in: channel),
            time: frame.time
        )
        if isOwn { publisher?.passedOn(frame.point.id) }
    }

    // MARK: Questions

    private func ask(_ subscription: ChannelSubscription) {
        subscription.question &+= 1
        toAsk.append(subscription)
        askNext()
    }

    private func askNext() {
        while underWay < Self.mostQuestions, let subscription = toAsk.popFirst() {
            guard all[subscription.channel] === subscription, case .ask(let known) = subscription.follower.question()
            else { continue }
            send(subscription, known)
        }
    }

    private func send(_ subscription: ChannelSubscription, _ known: ChannelPoint?) {
        let (channel, keys) = (subscription.channel, context.keys)
        let tag = ClusterKeys.tag(of: channel)
        let command = RedisCommand.run(
            ClusterScripts.follow,
            keys: [
                keys.head(channel), keys.history(channel), keys.nodes(channel),
                keys.channels(tag, of: context.incarnation), keys.index(tag), keys.counter(tag),
            ] + owedEvents(of: channel),
            arguments: [
                .text(channel.text), .text(context.incarnation), .text(.newEpoch()), .text(.newID()),
                .number(context.keepTime(of: channel)), .text(known?.epoch.description ?? ""),
                .text(known.map { "\($0.offset)" } ?? ""), .text(known?.id.description ?? ""),
                .number(Self.mostMessages), .number(Self.mostBytes), .text(keys.historyStem(tag)),
                .text(keys.nodesStem(tag)),
            ]
        )
        subscription.question &+= 1
        let question = subscription.question
        underWay += 1
        context.client.sendOnSubscriber(command) { [weak self] result in
            guard let self else { return }
            underWay -= 1
            let answer = result.map { value in Result { () throws(AnswerFault) in try FollowAnswer(value) } }
            // Also that of a question that no longer counts: it has changed who subscribes.
            if case .success(.success(let answer)) = answer, answer.isFirst {
                context.events.occupancyChanged(channel, isOccupied: true)
            }
            if subscription.question == question, all[channel] === subscription {
                answered(subscription, answer)
                receiveComplete()
            }
            askNext()
        }
    }

    private func answered(
        _ subscription: ChannelSubscription,
        _ result: Result<Result<FollowAnswer, AnswerFault>, RedisFailure>
    ) {
        switch result {
        case .success(.success(let answer)): apply(answer, to: subscription)
        case .success(.failure(let fault)): askLater(subscription, fault.sentence)
        // The connection is lost, and the question is asked again with the next one; or it is not there yet.
        case .failure(.notSent(.unavailable)), .failure(.unknown(.connectionLost)), .failure(.notSent(.closed)): break
        case .failure(let failure): askLater(subscription, failure.sentence)
        }
    }

    private func askLater(_ subscription: ChannelSubscription, _ why: String) {
        context.warn(
            "a channel cannot be followed for now; will retry",
            ["channel": "\(subscription.channel.text)", "why": "\(why)"],
            perMinute: NodeContext.fewLines
        )
        let question = subscription.question
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.retryPause) { [weak self] in
            guard let self, subscription.question == question, all[subscription.channel] === subscription else {
                return
            }
            ask(subscription)
        }
    }

    private func apply(_ answer: FollowAnswer, to subscription: ChannelSubscription) {
        let channel = subscription.channel
        subscription.refreshedAt = .now()
        let cause = subscription.follower.cause
        let outcome = subscription.follower.answered(answer)
        if let cause { context.metrics.resynced(cause, isComplete: outcome.lost == nil) }
        if let lost = outcome.lost {
            recentBytes -= subscription.recent.bytes
            subscription.recent.clear()
            context.metrics.gap(lost)
            context.warn(
                "messages of a channel are lost",
                ["channel": "\(channel.text)", "cause": "\(lost.rawValue)"]
            )
            let point = outcome.messages.first?.before ?? answer.head
            context.events.resumed(channel, isComplete: false, at: point.position(in: channel))
        }
        for frame in outcome.messages { deliver(frame, of: subscription) }
        if let known = outcome.asksAgain { return send(subscription, known) }
        // Interrupted since the question was asked: another one follows.
        guard let point = subscription.follower.point else { return }
        let owesResumption = subscription.owesResumption
        subscription.owesResumption = false
        if outcome.lost == nil, outcome.hasResumed || owesResumption {
            context.events.resumed(channel, isComplete: true, at: point.position(in: channel))
        }
        publisher?.unpark(subscription)
        reader?.answerWaiters(of: subscription)
    }
}

extension String {
    /// Random bits for a new epoch.
    static func newEpoch() -> String { ChannelEpoch(.random(in: 1 ... .max)).description }
    /// Random bits for a new id.
    static func newID() -> String { MessageID(.random(in: 1 ... .max)).description }
}
