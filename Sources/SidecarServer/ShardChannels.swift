import DequeModule
import NIOCore
import SidecarCore

/// The subscribers of one event loop, by channel.
///
/// Each subscriber knows its place in the list of each of its channels, so that leaving costs as little as joining.
final class ShardChannels {
    /// How long `?wait=written` waits for slow subscribers.
    static let patience = TimeAmount.seconds(10)

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
        let due = hub.engine.removeExpired(now: now)
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
        hub.engine.changed(channel, by: .joined, onLoop: loop, isEdge: place == 0)
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
        hub.engine.changed(channel, by: .left, onLoop: loop, isEdge: isLast)
    }

    /// What was published to the channels of a session since a stream's last event, as far as it fits into so many bytes.
    func missed(by session: BridgeSession, since cursor: StreamCursor?, room: Int) -> MissedEvents {
        hub.engine.missed(
            session.channels.keys,
            since: cursor,
            room: room,
            overhead: Outbox.messageOverhead,
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
        var counts = PublicationTally.Counts()
        var unwritten: [BridgeSession] = []
        for session in subscribers[delivery.channel] ?? [] {
            if let excluded = delivery.excluded, session.isOrWas(excluded) { continue }
            counts.matched += 1
            if session.deliver(delivery.message, at: delivery.cursor, delivery.policy?.action) {
                counts.queued += 1
                if delivery.tally?.waitsForKernel == true, session.hasUnsent { unwritten.append(session) }
            } else {
                counts.dropped += 1
            }
        }
        hub.delivered(counts, since: start)
        if !unwritten.isEmpty { flushes.flush() }
        guard let tally = delivery.tally else { return }
        report(counts, to: tally, when: unwritten, until: .now() + Self.patience)
    }

    /// Sends a message past all channels.
    func deliver(_ message: SharedMessage, to sessions: [BridgeSession], _ tally: PublicationTally) {
        var counts = PublicationTally.Counts()
        var unwritten: [BridgeSession] = []
        for session in sessions {
            counts.matched += 1
            if session.deliver(message, at: nil, nil) {
                counts.queued += 1
                if tally.waitsForKernel, session.hasUnsent { unwritten.append(session) }
            } else {
                counts.dropped += 1
            }
        }
        if !unwritten.isEmpty { flushes.flush() }
        report(counts, to: tally, when: unwritten, until: .now() + Self.patience)
    }

    /// Reports when the kernel has taken everything, or it has taken too long. What has not been taken when its client
    /// is gone counts as dropped.
    func report(
        _ counts: PublicationTally.Counts,
        to tally: PublicationTally,
        when unwritten: [BridgeSession],
        until deadline: NIODeadline,
        pause: TimeAmount = .milliseconds(5)
    ) {
        var counts = counts
        let gone = unwritten.count { !$0.isRunning }
        counts.queued -= gone
        counts.dropped += gone
        let unwritten = unwritten.filter(\.hasUnsent)
        if unwritten.isEmpty || .now() >= deadline { return tally.add(counts) }
        eventLoop.assumeIsolated().scheduleTask(in: pause) {
            // Soon for those who read, and rarely for those who don't: many callers may wait for many of them.
            let next = min(pause * 2, .milliseconds(320))
            self.report(counts, to: tally, when: unwritten, until: deadline, pause: next)
        }
    }
}
