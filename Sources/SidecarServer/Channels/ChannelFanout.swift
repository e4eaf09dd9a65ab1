import CoreMetrics
import NIOCore
import SidecarCore
import Synchronization

/// Delivers publications to the subscribers of this node: prepares them for sending, has the broker assign their
/// positions, and tells it which channels have subscribers here.
final class ChannelFanout: Sendable {
    private final class Edges: Sendable {
        let lock = Mutex(())
    }

    typealias MakeBroker = (any ChannelBrokerEvents) -> any ChannelBroker

    let broker: any ChannelBroker
    /// The channel events for the app; nil when `CHANNEL_EVENTS` is off.
    let occupancy: Occupancy?
    /// Reads the users that other nodes have in the channels; nil where there is none.
    let memberSync: MemberSync?
    private let dispatcher: LoopDispatcher
    /// Serialises, for each channel, the broker calls for the first and the last subscriber. Striped by name, and
    /// separate from the dispatcher's locks, since a broker may call the dispatcher while it holds a lock of its own.
    private let edges = (0..<64).map { _ in Edges() }
    private let subscriptionCount = Atomic<Int>(0)
    private let duration = Timer(label: "sidesocket_publish_duration_seconds")
    private let publications = LabelledCounters<PublicationSource>("sidesocket_publications_total", "source")
    private let deliveries = LabelledCounters<DeliveryResult>("sidesocket_deliveries_total", "result")

    /// - Parameter makeBroker: The broker calls its argument with what it receives.
    init(settings: Settings, engine: (any ClusterEngine)? = nil, makeBroker: MakeBroker) {
        occupancy = settings.channelEvents ? Occupancy(isShared: settings.clusterURL != nil) : nil
        let dispatcher = LoopDispatcher(settings: settings, occupancy: occupancy)
        let broker = makeBroker(dispatcher)
        (self.dispatcher, self.broker) = (dispatcher, broker)
        guard let members = dispatcher.members else {
            memberSync = nil
            return
        }
        let sync = engine.map { MemberSync(members, engine: $0, broker: broker) }
        memberSync = sync
        members.begin(
            in: .init(
                tell: { [weak dispatcher] in dispatcher?.tell($0, in: $1, count: $2) },
                wake: { [weak dispatcher] in dispatcher?.receiveComplete() },
                announce: { [weak sync] notice in
                    broker.announce(notice) { [weak sync] in sync?.mayHaveFailed(notice.channel) }
                },
                sync: sync
            )
        )
    }

    /// Who is in the channels; nil without `presence=on`.
    var members: ChannelMembers? { dispatcher.members }

    /// Tells another node who got one of its publications here.
    typealias SendReport = LoopDispatcher.SendReport

    /// From now on other nodes are told who got those of their publications that ask for it.
    func sendReports(by send: @escaping SendReport) { dispatcher.sendReports(by: send) }

    /// Adds an event loop, before there are subscribers; returns its number.
    func add(_ inbox: ChannelInbox) -> Int { dispatcher.add(inbox) }

    // MARK: Subscriptions

    /// The number of subscriptions of all connections.
    var subscriptions: Int { subscriptionCount.load(ordering: .relaxed) }

    /// How many connections have subscribed to a channel.
    func connections(in channel: ChannelName) -> Int { dispatcher.connections(in: channel) }

    /// Whether clients may send events to each other in a channel.
    func allowsClientEvents(in channel: ChannelName) -> Bool { dispatcher.allowsClientEvents(in: channel) }

    /// Whether WebSockets in a channel are closed when messages of it are lost.
    func closesOnGap(_ channel: ChannelName) -> Bool { dispatcher.closesOnGap(channel) }

    /// Subscribes to a channel before a connection joins it; ``release(_:)`` has to follow when it has, or has not.
    ///
    /// - Parameter completion: Called on any thread, when what is published from then on is received, or when that will
    ///   take longer.
    func hold(_ channel: ChannelName, _ completion: @escaping @Sendable () -> Void) {
        change(channel, isEdge: true) { broker.subscribe(channel, after: nil, reader: 0) { _ in completion() } }
    }

    /// Ends the subscription of ``hold(_:_:)``, unless there are connections in the channel.
    func release(_ channel: ChannelName) {
        change(channel, isEdge: true) {
            if dispatcher.connections(in: channel) == 0 { broker.unsubscribe(channel) }
        }
    }

    /// A connection has joined a channel.
    func joined(_ channel: ChannelName, onLoop loop: Int, isFirstOfLoop: Bool, _ user: UserName?) {
        subscriptionCount.wrappingAdd(1, ordering: .relaxed)
        change(channel, isEdge: isFirstOfLoop) {
            if dispatcher.joined(channel, onLoop: loop) { broker.subscribe(channel, after: nil, reader: 0, nil) }
        }
        members?.joined(channel, user)
    }

    /// A connection has left a channel.
    func left(_ channel: ChannelName, onLoop loop: Int, isLastOfLoop: Bool, _ user: UserName?) {
        subscriptionCount.wrappingSubtract(1, ordering: .relaxed)
        members?.left(channel, user)
        change(channel, isEdge: isLastOfLoop) {
            if dispatcher.left(channel, onLoop: loop, isLastOfLoop: isLastOfLoop) { broker.unsubscribe(channel) }
        }
    }

    private func change(_ channel: ChannelName, isEdge: Bool, _ body: () -> Void) {
        guard isEdge else { return body() }
        edges[Int(UInt(bitPattern: channel.hashValue) % UInt(edges.count))].lock.withLock { _ in body() }
    }

    // MARK: Publications

    /// Publishes what a reply of the app asks for. With a broker that answers at once, it has been queued on every loop
    /// with subscribers when this returns.
    func publish(_ publication: Publication, excluding id: String?) {
        publications[.reply].increment()
        let envelope = ChannelEnvelope(
            publication,
            excluding: id.map(ExcludedConnection.init),
            context: dispatcher.prepare(publication)
        )
        broker.publish(envelope, id: nil, nil)
    }

    /// Publishes what came by the API, or from elsewhere; returns its position and who got it.
    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String? = nil,
        report: String? = nil,
        from source: PublicationSource = .api
    ) async -> (Result<ChannelPosition, ChannelFailure>, PublicationTally.Counts) {
        await begin(
            publication,
            excluding: id,
            waitsForKernel: waitsForKernel,
            idempotencyKey: key,
            report: report,
            from: source
        ).result()
    }

    /// Hands a publication to the broker, and returns what its result can be waited for with.
    func begin(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?,
        report: String?,
        from source: PublicationSource = .api
    ) -> PublicationTally {
        publications[source].increment()
        let tally = PublicationTally(of: dispatcher.prepare(publication), waitsForKernel: waitsForKernel)
        let envelope = ChannelEnvelope(
            publication,
            excluding: id.map(ExcludedConnection.init),
            context: tally,
            report: report
        )
        broker.publish(envelope, id: key) { tally.published($0) }
        return tally
    }

    /// A loop has delivered a publication.
    func delivered(_ counts: PublicationTally.Counts, since start: NIODeadline) {
        if counts.queued > 0 { deliveries[.queued].increment(by: counts.queued) }
        if counts.dropped > 0 { deliveries[.dropped].increment(by: counts.dropped) }
        duration.recordNanoseconds((NIODeadline.now() - start).nanoseconds)
    }
}
