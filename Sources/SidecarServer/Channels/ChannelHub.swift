import CoreMetrics
import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// A publication on its way to the subscribers of one event loop.
struct ChannelDelivery: Sendable {
    let message: PreparedMessage
    let channel: ChannelName
    let cursor: StreamCursor?
    /// The connection that does not get it, and the same as a stream's cursor has it.
    let excluded: (id: String, reader: UInt64)?
    let policy: ChannelPolicy?
    let tally: PublicationTally?
}

/// Hands publications to the event loops that have subscribers, in the order of their places.
final class ChannelHub: Sendable {
    let broker: MemoryChannelBroker
    /// What the app is told of channels; nil when `CHANNEL_EVENTS` is off.
    let occupancy: Occupancy?
    private let rules: ChannelRules
    private let servesStreams: Bool
    private let inboxes = Mutex<[ChannelInbox]>([])
    private let duration = Timer(label: "sidesocket_publish_duration_seconds")
    private let byReply = Counter(label: "sidesocket_publications_total", dimensions: [("source", "reply")])
    private let byAPI = Counter(label: "sidesocket_publications_total", dimensions: [("source", "api")])
    private let queued = Counter(label: "sidesocket_deliveries_total", dimensions: [("result", "queued")])
    private let dropped = Counter(label: "sidesocket_deliveries_total", dimensions: [("result", "dropped")])

    enum Source { case reply, api }

    init(settings: Settings) {
        rules = ChannelRules(settings)
        servesStreams = settings.ssePaths != nil
        let occupancy = settings.channelEvents ? Occupancy() : nil
        self.occupancy = occupancy
        broker = MemoryChannelBroker(
            rules: rules,
            maxHistoryBytes: settings.maxHistoryBytes,
            servesStreams: servesStreams,
            makeEpoch: { .random(in: 1 ... .max) },
            occupancyChanged: occupancy?.changed
        )
    }

    /// Adds an event loop; returns its number.
    func add(_ inbox: ChannelInbox) -> Int {
        inboxes.withLock {
            $0.append(inbox)
            return $0.count - 1
        }
    }

    /// Gives a message its place and queues it on every loop with subscribers.
    func publish(_ publication: Publication, excluding id: String?, from source: Source, tally: PublicationTally? = nil)
    {
        let message = PreparedMessage(
            publication.format,
            publication.payload,
            channel: publication.channel,
            event: publication.event
        )
        let excluded = id.map { (id: $0, reader: StreamCursor.reader($0)) }
        let policy = rules.policy(for: publication.channel)
        (source == .reply ? byReply : byAPI).increment()
        let all = inboxes.withLock { $0 }
        var toWake: [ChannelInbox] = []
        broker.publish(
            publication,
            excluding: excluded?.reader,
            now: AdmissionGuard.now(),
            unixMilliseconds: WallClock.unixMilliseconds()
        ) { result, loops in
            guard case .success(let position) = result else {
                tally?.begins(result, loops: 0)
                return
            }
            let interested = all.indices.filter { loops.contains($0) }
            tally?.begins(result, loops: interested.count)
            let delivery = ChannelDelivery(
                message: message,
                channel: publication.channel,
                cursor: servesStreams ? position.cursor : nil,
                excluded: excluded,
                policy: policy,
                tally: tally
            )
            for index in interested where all[index].append(delivery) { toWake.append(all[index]) }
        }
        for inbox in toWake { inbox.wake() }
    }

    func delivered(_ counts: PublicationTally.Counts, since start: NIODeadline) {
        if counts.queued > 0 { queued.increment(by: counts.queued) }
        if counts.dropped > 0 { dropped.increment(by: counts.dropped) }
        duration.recordNanoseconds((NIODeadline.now() - start).nanoseconds)
    }
}
