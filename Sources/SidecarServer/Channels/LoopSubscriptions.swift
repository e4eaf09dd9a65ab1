import DequeModule
import NIOCore
import SidecarCore

/// The subscribers of one event loop, by channel.
///
/// Each subscriber knows its index in the list of each of its channels, so that leaving takes constant time.
final class LoopSubscriptions {
    private let fanout: ChannelFanout
    private let eventLoop: any EventLoop
    private let flushes: FlushQueue
    private var subscribers: [ChannelName: [BridgeSession]] = [:]
    /// The last message of each channel with subscribers, for those that are spared the next one.
    private var lastPositions: [ChannelName: ChannelPosition] = [:]
    private var inbox: ChannelInbox?
    private var isDraining = false
    private var loop = 0

    init(fanout: ChannelFanout, flushes: FlushQueue, eventLoop: any EventLoop) {
        self.fanout = fanout
        self.flushes = flushes
        self.eventLoop = eventLoop
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let inbox = ChannelInbox(eventLoop: eventLoop) { bound.value.drain() }
        self.inbox = inbox
        loop = fanout.add(inbox)
    }

    // MARK: Membership

    func join(_ session: BridgeSession, _ channel: ChannelName) {
        guard !session.channels.contains(channel) else { return }
        let index = subscribers[channel]?.count ?? 0
        subscribers[channel, default: []].append(session)
        session.channels.set(channel, at: index)
        fanout.joined(channel, onLoop: loop, isFirstOfLoop: index == 0, session.user)
        session.conversation?.joined(channel)
        if fanout.broker.ordersEachChannel, let stream = session.transport?.replay { begin(stream, in: channel) }
    }

    /// Calls when what is published to some channels is received here, so that a client that joins them then misses
    /// nothing of what is published after it is told. With a broker that answers at once, and without channels, that is
    /// now; while the engine is away, it is soon.
    func whenHeld(_ names: @autoclosure () -> Set<ChannelName>, _ body: @escaping () -> Void) {
        guard fanout.broker.ordersEachChannel else { return body() }
        let channels = names()
        guard !channels.isEmpty else { return body() }
        var left = channels.count
        let held = NIOLoopBound(
            { [fanout] in
                left -= 1
                guard left == 0 else { return }
                body()
                for channel in channels { fanout.release(channel) }
            },
            eventLoop: eventLoop
        )
        for channel in channels { fanout.hold(channel) { [eventLoop] in eventLoop.execute { held.value() } } }
    }

    /// Where a channel of a session here is now, and what follows a position.
    ///
    /// - Parameters:
    ///   - reader: Whose excluded messages are left out.
    ///   - completion: Gets nil while the engine is away.
    func read(
        _ channel: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: @escaping (ChannelReplay?) -> Void
    ) {
        let bound = NIOLoopBound((self, completion), eventLoop: eventLoop)
        let answer = { @Sendable [eventLoop] (replay: ChannelReplay?) in
            let pass: @Sendable () -> Void = {
                let (subscriptions, completion) = bound.value
                // What the answer covers may still be in the inbox, and must not come behind it.
                subscriptions.drain()
                completion(replay)
            }
            if eventLoop.inEventLoop { pass() } else { eventLoop.execute(pass) }
        }
        fanout.broker.subscribe(channel, after: position, reader: reader) { [members = fanout.members] result in
            guard let members, case .success(let replay) = result else { return answer(try? result.get()) }
            members.whenKnown(channel) { answer(replay) }
        }
    }

    /// The users in a channel; nil where clients are not told of them.
    func members(of channel: ChannelName) -> MemberSnapshot? { fanout.members?.snapshot(of: channel) }

    /// Tells a stream where it begins in a channel, now or later.
    private func begin(_ stream: any ReplayTransport, in channel: ChannelName) {
        stream.begins(in: channel, at: nil)
        let tell = NIOLoopBound({ [weak stream] in stream?.begins(in: channel, at: $0) }, eventLoop: eventLoop)
        fanout.broker.subscribe(channel, after: nil, reader: 0) { [eventLoop] answer in
            guard case .success(let replay) = answer else { return }
            eventLoop.execute { tell.value(replay.upTo.mark) }
        }
    }

    func leave(_ session: BridgeSession, _ channel: ChannelName) {
        guard let index = session.channels.remove(channel) else { return }
        session.transport?.replay?.ends(in: channel)
        remove(session, at: index, from: channel)
        session.conversation?.left(channel)
    }

    func leaveAll(_ session: BridgeSession) {
        for (channel, index) in session.channels.removeAll() { remove(session, at: index, from: channel) }
    }

    /// The last subscriber moves to the index that becomes free.
    private func remove(_ session: BridgeSession, at index: Int, from channel: ChannelName) {
        let isLast = subscribers[channel]?.count == 1
        if isLast {
            subscribers[channel] = nil
            lastPositions[channel] = nil
        } else if let moved = subscribers[channel]?.popLast(), subscribers[channel]?.indices.contains(index) == true {
            subscribers[channel]?[index] = moved
            moved.channels.set(channel, at: index)
        }
        fanout.left(channel, onLoop: loop, isLastOfLoop: isLast, session.user)
    }

    /// A session has another user than before.
    func renamed(_ session: BridgeSession, from old: UserName?) {
        guard let members = fanout.members, old != session.user else { return }
        members.renamed(from: old, to: session.user, in: session.channels.names)
    }

    /// The replay of a session's channels since a stream's last event, as far as it fits into so many bytes.
    ///
    /// A broker that has the replay at once completes before this returns. With any other broker, the transport holds
    /// back what is published in the meantime.
    func replay(
        to session: BridgeSession,
        since cursor: StreamCursor?,
        room: Int,
        _ completion: @escaping (Result<Replay, ChannelFailure>) -> Void
    ) {
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        fanout.broker.replay(
            of: Array(session.channels.names),
            since: cursor,
            room: room,
            overhead: SendQueue.messageOverhead
        ) { [eventLoop] answer in
            if eventLoop.inEventLoop {
                bound.value(answer)
            } else {
                eventLoop.execute { bound.value(answer) }
            }
        }
    }

    /// The first users in a channel here that sort after another one.
    func users(of channel: ChannelName, after user: UserName?, limit: Int) -> [UserName] {
        let users = Set(
            (subscribers[channel] ?? []).lazy.compactMap(\.user).filter { name in user.map { $0 < name } ?? true }
        )
        return Array(users.sorted().prefix(limit))
    }

    // MARK: Publishing

    /// Publishes what a reply of the app asks for. With a broker that answers at once, subscribers on this loop have it
    /// when this returns, so that it keeps its order among the other effects of the reply.
    func publish(_ publication: Publication, excluding id: String?) {
        fanout.publish(publication, excluding: id)
        drain()
    }

    private func drain() {
        guard let inbox, !isDraining else { return }
        isDraining = true
        defer { isDraining = false }
        while true {
            let items = inbox.take()
            if items.isEmpty { return }
            var told: Set<ObjectIdentifier> = []
            if items.count == 1, let item = items.first {
                process(item, &told)
            } else {
                flushes.gathering { for item in items { process(item, &told) } }
            }
        }
    }

    /// - Parameter told: The event streams that have just been told of a loss, which need not hear of it for each channel.
    private func process(_ item: ChannelInbox.Item, _ told: inout Set<ObjectIdentifier>) {
        switch item {
        case .publication(let delivery): deliver(delivery)
        case .clientEvent(let event, let frame): deliver(event, frame)
        case .member(let channel, let event, let frame): tell(event, in: channel, frame)
        case .resumed(let channel, let isComplete, let position): resumed(channel, isComplete, position, &told)
        }
    }

    /// Event streams and clients of the protocol are told that messages are missing. A raw WebSocket has no way to say so,
    /// but for its close.
    private func resumed(
        _ channel: ChannelName,
        _ isComplete: Bool,
        _ position: ChannelPosition,
        _ told: inout Set<ObjectIdentifier>
    ) {
        let closes = fanout.closesOnGap(channel)
        for session in subscribers[channel] ?? [] where session.isRunning {
            guard let transport = session.transport else { continue }
            if let conversation = session.conversation {
                conversation.resumed(channel, isComplete: isComplete, at: position)
            } else if isComplete {
                continue
            } else if let replay = transport.replay {
                if told.insert(ObjectIdentifier(session)).inserted { replay.lostMessages() }
            } else if closes {
                session.close(code: .gap, reason: "messages are lost", for: .gap)
            }
        }
    }

    private func deliver(_ delivery: ChannelDelivery) {
        let before = lastPositions.updateValue(delivery.position, forKey: delivery.channel)
        let (counts, receipt) = send(to: subscribers[delivery.channel] ?? [], delivery.tally) { session in
            if let excluded = delivery.excluded, session.isOrWas(excluded) {
                session.conversation?.skipped(delivery, after: before)
                return nil
            }
            return session.deliver(delivery)
        }
        fanout.delivered(counts, since: delivery.queuedAt)
        report(counts, receipt, to: delivery.tally)
    }

    /// Only clients of the protocol get the events of others.
    private func deliver(_ event: ClientBroadcast, _ frame: SharedFrame) {
        for session in subscribers[event.channel] ?? [] where session.id != event.sender {
            session.conversation?.deliver(frame, of: event.channel)
        }
    }

    /// Tells the others that a user has come or gone.
    private func tell(_ event: MemberEvent, in channel: ChannelName, _ frame: SharedFrame) {
        for session in subscribers[channel] ?? [] where session.user != event.user {
            session.conversation?.tellOfMember(frame, in: channel)
        }
    }

    /// Whether clients may send events to each other in a channel.
    func allowsClientEvents(in channel: ChannelName) -> Bool { fanout.allowsClientEvents(in: channel) }

    /// Sends a client's event to the others in its channel.
    func broadcast(_ event: ClientBroadcast, _ completion: @escaping (Result<Void, ChannelFailure>) -> Void) {
        let bound = NIOLoopBound(completion, eventLoop: eventLoop)
        fanout.broker.broadcast(event) { [eventLoop] result in
            if eventLoop.inEventLoop { bound.value(result) } else { eventLoop.execute { bound.value(result) } }
        }
    }

    /// Sends a message to single sessions, not to a channel.
    func deliver(_ tally: PublicationTally, to sessions: [BridgeSession]) {
        let (counts, receipt) = send(to: sessions, tally) { $0.deliver(tally.message) }
        report(counts, receipt, to: tally)
    }

    /// - Parameter deliver: Returns whether the message was queued; nil for a session that is not to get it.
    private func send(
        to sessions: [BridgeSession],
        _ tally: PublicationTally?,
        deliver: (BridgeSession) -> Bool?
    ) -> (PublicationTally.Counts, WriteReceipt?) {
        let receipt = tally.flatMap { $0.waitsForKernel ? WriteReceipt(for: $0) : nil }
        var counts = PublicationTally.Counts()
        for session in sessions {
            guard let isQueued = deliver(session) else { continue }
            counts.matched += 1
            if isQueued {
                counts.queued += 1
                if let receipt { session.whenWritten(receipt) }
            } else {
                counts.dropped += 1
            }
        }
        return (counts, receipt)
    }

    private func report(_ counts: PublicationTally.Counts, _ receipt: WriteReceipt?, to tally: PublicationTally?) {
        if let receipt {
            receipt.report(counts, on: eventLoop)
        } else {
            tally?.add(counts)
        }
    }
}
