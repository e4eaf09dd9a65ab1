import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// What a node does on the event loop of its engine: it passes on what the client tells, and watches for losses.
final class RedisChannelNode: RedisClientDelegate {
    /// How many heads are refreshed each time.
    private static let refreshedAtOnce = 500

    let context: NodeContext
    let subscriptions: NodeSubscriptions
    let publisher: Publisher
    let reader: HistoryReader
    let registry: NodeRegistry
    let calls: NodeCalls
    let registrations: Registrations
    let lost: LostConnections
    let users: UserCounts
    let bans: BanMirror
    /// Told by the publishing client, if it is another one.
    let publishing: PublishingConnection
    private let status: ClusterStatusBox
    private var counters: [Int: TagCounter] = [:]
    /// How many answers have been compared.
    private(set) var comparisons = 0
    /// Whether other nodes can ask this one.
    private(set) var isListening = false

    init(_ context: NodeContext, status: ClusterStatusBox) {
        self.context = context
        self.status = status
        subscriptions = NodeSubscriptions(context)
        let publisher = Publisher(context, subscriptions)
        self.publisher = publisher
        publishing = PublishingConnection { [weak publisher] in publisher?.connected() }
        reader = HistoryReader(context, subscriptions)
        let registry = NodeRegistry(context, subscriptions, status)
        self.registry = registry
        calls = NodeCalls(context) { [weak registry] id in registry?.nodes.first { $0.id == id }?.name }
        registrations = Registrations(context) { [weak registry] in registry?.wasBuried() }
        lost = LostConnections(context)
        let (link, seal) = (context.link, context.seal)
        users = UserCounts(
            context,
            sharesRates: context.settings.sharesUserRates,
            numberOfNodes: { max(1, status.nodes) },
            onShare: { user, nodes in link.node?.userIsOn(nodes, user) }
        )
        bans = BanMirror(
            context,
            seal: { seal.seal($0, by: "bans", as: $1) },
            open: { seal.open($0, by: "bans", as: $1) },
            onChange: { link.node?.bansChanged($0) }
        )
        subscriptions.publisher = publisher
        subscriptions.reader = reader
        registry.delegate = self
    }

    func start() {
        context.client.start()
        if context.publishingClient !== context.client { context.publishingClient.start() }
        calls.listen()
        let topics = users.topics + bans.topics
        context.client.subscribe(topics.map { RedisChannel(name: $0) })
        registry.start()
        countLater()
    }

    /// Leaves the cluster, within the time of a few commands.
    func stop(_ completion: @escaping () -> Void) {
        publisher.stop()
        reader.stop()
        calls.stop()
        lost.stop()
        users.stop()
        registry.stop { [self] in
            close()
            completion()
        }
    }

    /// Ends the connections without a word.
    func abandon() { close() }

    private func close() {
        context.client.close()
        if context.publishingClient !== context.client { context.publishingClient.close() }
    }

    // MARK: RedisClientDelegate

    func redisConnected(_ shard: RedisShardID, server: RedisServerInfo) {
        if context.publishingClient === context.client { publisher.connected() }
    }
    func redisDisconnected(_ shard: RedisShardID, _ why: String) {}
    func redisIsUpChanged(_ isUp: Bool, _ why: String) {
        updateStatus()
        registry.interrupted()
        if isUp {
            calls.engineIsUp()
            users.engineIsUp()
            bans.engineIsUp()
            context.link.node?.registerAgain(.missing)
        } else {
            users.engineIsAway()
        }
    }

    func redisIdentityChanged(_ shard: RedisShardID) {
        subscriptions.suspect { context.client.shard(ofKey: context.keys.head($0)) == shard }
        // The end of what the old server had may be missing.
        users.announceAll()
        bans.engineIsUp()
        context.link.node?.registerAgain(.all)
    }

    func redisSubscribed(_ channel: RedisChannel) {
        if calls.inboxes.contains(channel.name) {
            if channel.name == context.keys.inbox(of: context.incarnation) { isListening = true }
            registry.listens()
        } else if users.topics.contains(channel.name) {
            users.subscribed(channel.name)
        } else if bans.topics.contains(channel.name) {
            bans.subscribed(channel.name)
        } else {
            subscriptions.subscribed(channel.name)
        }
    }

    func redisInterrupted(_ channels: [RedisChannel]) { subscriptions.interrupted(channels.map(\.name)) }

    func redisReceived(_ channel: RedisChannel, _ payload: ByteBuffer) {
        // Channels are by far the most.
        if ClusterKeys.isTopicOfChannel(channel.name) { return subscriptions.received(channel.name, payload) }
        if calls.inboxes.contains(channel.name) {
            if let stranger = calls.received(channel.name, payload) { registry.met(stranger) }
        } else if bans.topics.contains(channel.name) {
            bans.received(channel.name, payload)
        } else {
            users.received(channel.name, payload)
        }
    }

    func redisReceiveComplete() { subscriptions.receiveComplete() }
    func redisProbed(_ seconds: TimeAmount) { context.metrics.probe.recordNanoseconds(seconds.nanoseconds) }
    func redisReconnecting(_ shard: RedisShardID?) { context.metrics.reconnects.increment() }

    // MARK: Losses that nothing else shows

    private func countLater() {
        context.eventLoop.assumeIsolated().scheduleTask(in: context.settings.countInterval) { [weak self] in
            self?.count()
            self?.countLater()
        }
    }

    /// Compares the counters of the tags, in as few commands as the topology allows.
    private func count() {
        subscriptions.refresh(Self.refreshedAtOnce)
        subscriptions.leaveDeparted()
        publisher.checkAgain()
        let tags = Array(0..<ClusterKeys.tags)
        let groups = context.isSharded ? tags.map { [$0] } : [tags]
        for group in groups {
            let command = RedisCommand.run(
                ClusterScripts.count,
                keys: group.map(context.keys.counter),
                arguments: []
            )
            let sentAt = NIODeadline.now()
            context.client.send(command) { [weak self] result in
                guard let items = (try? result.get())?.items, items.count == 1 + 2 * group.count else { return }
                if let time = items[0].integer { self?.context.clock.learned(time, roundTrip: .now() - sentAt) }
                for (index, tag) in group.enumerated() {
                    guard let epoch = items[1 + 2 * index].text, let number = items[2 + 2 * index].integer else {
                        continue
                    }
                    self?.counted(tag, TagCounter(epoch: epoch, number: number))
                }
            }
        }
    }

    private func counted(_ tag: Int, _ counter: TagCounter) {
        comparisons += 1
        defer { counters[tag] = counter }
        guard let before = counters[tag], before.isLost(by: counter) else { return }
        subscriptions.suspect { ClusterKeys.tag(of: $0) == tag }
    }
}

extension RedisChannelNode: NodeRegistryDelegate {
    func registryRenewed(lost: Set<NodeID>, alive: [NodeID], bansVersion: Int64) {
        self.lost.saw(lost, alive: alive)
        bans.check(bansVersion)
        context.link.node?.nodesAre(Set(alive))
    }

    func registryEntered(among others: [NodeID]) {
        updateStatus()
        users.engineIsUp()
        context.link.node?.registerAgain(.missing)
        // The others look at the list of nodes when one asks that they do not know.
        calls.ask(others, .presence(channels: [])) { _ in }
    }

    /// The engine is of use when the node is in the list.
    private func updateStatus() { status.isUp = context.client.isUp && context.isListed }

    func registryLost(_ node: NodeID, alive: [NodeID]) { lost.saw([node], alive: alive) }

    func registryClearsUsers(of node: NodeID, _ completion: @escaping (Bool) -> Void) {
        users.clear(node, completion)
    }

    func registryRejoins(_ which: Reregistration) {
        isListening = false
        status.nodeID = context.incarnation
        updateStatus()
        calls.listen()
        users.announceAll()
        context.link.node?.registerAgain(which)
    }
}

/// What the engine counts of one tag.
struct TagCounter: Equatable {
    /// Random; empty before the first publication.
    let epoch: String
    /// The number of publications.
    let number: Int64

    /// Whether a later count shows a loss, or that a node has found one. The first publication of all looks like it.
    func isLost(by later: TagCounter) -> Bool { epoch != later.epoch || number > later.number }
}
