import DequeModule
import NIOCore
import SidecarCore

/// The subscribers of one event loop, by channel.
///
/// Each subscriber knows its place in the list of each of its channels, so that leaving costs as little as joining.
final class ShardChannels {
    /// Between two looks at what has expired.
    private static let pause = TimeAmount.milliseconds(20)
    private static let longestPause = TimeAmount.seconds(1)

    private let hub: ChannelHub
    private let eventLoop: any EventLoop
    private let flushes: FlushQueue
    private var subscribers: [ChannelName: [BridgeSession]] = [:]
    private var inbox: ChannelInbox?
    private var loop = 0

    init(hub: ChannelHub, flushes: FlushQueue, eventLoop: any EventLoop) {
        self.hub = hub
        self.flushes = flushes
        self.eventLoop = eventLoop
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let inbox = ChannelInbox(eventLoop: eventLoop) { bound.value.drain() }
        self.inbox = inbox
        loop = hub.add(inbox)
    }

    /// Keeps the histories clean; on one loop only. While nothing is due, nothing is done but to look for that.
    func watchHistory() {
        let now = AdmissionGuard.now()
        let due = hub.broker.removeExpired(now: now)
        let pause = min(
            max(due.map { TimeAmount.nanoseconds($0 &- now) } ?? Self.longestPause, Self.pause),
            Self.longestPause
        )
        eventLoop.assumeIsolated().scheduleTask(in: pause) { self.watchHistory() }
    }

    // MARK: Membership

    func join(_ session: BridgeSession, _ channel: ChannelName) {
        guard session.channels[channel] == nil else { return }
        let place = subscribers[channel]?.count ?? 0
        subscribers[channel, default: []].append(session)
        session.channels[channel] = place
        hub.broker.changed(channel, by: .joined, onLoop: loop, isEdge: place == 0)
    }

    func leave(_ session: BridgeSession, _ channel: ChannelName) {
        guard let place = session.channels.removeValue(forKey: channel) else { return }
        remove(at: place, from: channel)
    }

    func leaveAll(_ session: BridgeSession) {
        let channels = session.channels
        session.channels = [:]
        for (channel, place) in channels { remove(at: place, from: channel) }
    }

    /// The last one takes the place that becomes free.
    private func remove(at place: Int, from channel: ChannelName) {
        let isLast = subscribers[channel]?.count == 1
        if isLast {
            subscribers[channel] = nil
        } else if let moved = subscribers[channel]?.popLast(), subscribers[channel]?.indices.contains(place) == true {
            subscribers[channel]?[place] = moved
            moved.channels[channel] = place
        }
        hub.broker.changed(channel, by: .left, onLoop: loop, isEdge: isLast)
    }

    /// What was published to the channels of a session since a stream's last event, as far as it fits into so many bytes.
    func missed(by session: BridgeSession, since cursor: StreamCursor?, room: Int) -> Replay {
        hub.broker.missed(
            session.channels.keys,
            since: cursor,
            room: room,
            overhead: SendQueue.messageOverhead,
            now: AdmissionGuard.now()
        )
    }

    /// The users in a channel here.
    func users(of channel: ChannelName) -> Set<UserName> {
        Set((subscribers[channel] ?? []).compactMap(\.user))
    }

    // MARK: Publishing

    /// Publishes what an answer of the app says. Those on this loop have it when this returns, so that it keeps its
    /// place between other things that the answer sends.
    func publish(_ publication: Publication, excluding id: String?) {
        hub.publish(publication, excluding: id, from: .reply)
        drain()
    }

    private func drain() {
        guard let inbox else { return }
        while true {
            let deliveries = inbox.take()
            if deliveries.isEmpty { return }
            if deliveries.count == 1, let (delivery, start) = deliveries.first {
                deliver(delivery, since: start)
            } else {
                flushes.gathering { for (delivery, start) in deliveries { deliver(delivery, since: start) } }
            }
        }
    }

    private func deliver(_ delivery: ChannelDelivery, since start: NIODeadline) {
        let (counts, receipt) = send(to: subscribers[delivery.channel] ?? [], delivery.tally) { session in
            if let excluded = delivery.excluded, session.isOrWas(excluded) { return nil }
            return session.deliver(delivery.message, at: delivery.cursor, delivery.policy?.action)
        }
        hub.delivered(counts, since: start)
        report(counts, receipt, to: delivery.tally)
    }

    /// Sends a message past all channels.
    func deliver(_ message: PreparedMessage, to sessions: [BridgeSession], _ tally: PublicationTally) {
        let (counts, receipt) = send(to: sessions, tally) { $0.deliver(message, at: nil, nil) }
        report(counts, receipt, to: tally)
    }

    /// - Parameter deliver: Says whether the message was queued; nil for a session that is not to get it.
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
