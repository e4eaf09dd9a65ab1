import DequeModule
import Logging
import NIOCore
import RedisClient
import SidecarCore
import Synchronization

/// Channels that several nodes share over Redis.
///
/// Everything happens on one event loop of its own; calls from other threads are queued for it.
final class RedisChannelBroker: ChannelBroker {
    private enum Call: Sendable {
        case publish(ChannelEnvelope, id: String?, PublishCompletion?)
        case subscribe(
            ChannelName,
            KnownPoint?,
            reader: UInt64,
            (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
        )
        case unsubscribe(ChannelName)
    }

    private struct Calls: Sendable {
        var queue: Deque<Call> = []
        var isAwake = false
        /// The loop will run no more; what is asked for fails at once.
        var isStopped = false
    }

    private static let stopped = ChannelFailure.unavailable("Sidesocket is stopping.")

    let eventLoop: any EventLoop
    /// Made on the event loop before anything else runs there.
    private let node: NIOLoopBoundBox<RedisChannelNode?>
    private let calls = Mutex(Calls())
    private let status: ClusterStatusBox
    private let channelCount = Atomic<Int>(0)

    /// Makes a broker, which ``start()`` connects.
    ///
    /// - Parameters:
    ///   - events: Gets what other nodes, and this one, publish.
    ///   - unixMilliseconds: The wall clock.
    ///   - link: Where the node itself is found.
    ///   - eventLoop: Where all of it happens; a loop of its own, so that it delays no client.
    init(
        _ configuration: RedisConfiguration,
        settings: ClusterNodeSettings,
        rules: ChannelRules,
        events: any ChannelBrokerEvents,
        unixMilliseconds: @escaping @Sendable () -> Int64,
        link: ClusterLink,
        on eventLoop: any EventLoop,
        logger: Logger
    ) {
        self.eventLoop = eventLoop
        let status = ClusterStatusBox()
        let incarnation = NodeID.newNode()
        status.nodeID = incarnation
        self.status = status
        let box = NIOLoopBoundBox.makeEmptyBox(valueType: RedisChannelNode.self, eventLoop: eventLoop)
        node = box
        eventLoop.execute {
            let client = RedisClient(configuration, eventLoop: eventLoop, logger: logger)
            let isSharded = if case .cluster = configuration.topology { true } else { false }
            let context = NodeContext(
                eventLoop: eventLoop,
                client: client,
                publishingClient: settings.minReplicas > 0
                    ? RedisClient(configuration, eventLoop: eventLoop, logger: logger) : client,
                settings: settings,
                rules: rules,
                events: events,
                metrics: ClusterMetrics(),
                clock: EngineClock(unixMilliseconds: unixMilliseconds),
                incarnation: incarnation,
                link: link,
                isSharded: isSharded,
                logger: logger
            )
            let node = RedisChannelNode(context, status: status)
            client.delegate = node
            if context.publishingClient !== client { context.publishingClient.delegate = node.publishing }
            box.value = node
        }
    }

    /// Connects to the engine, now or as soon as it is there.
    func start() { perform { $0.start() } }

    /// Leaves the cluster and ends the connections; what has not been published is given up.
    func stop() async {
        calls.withLock { $0.isStopped = true }
        await withCheckedContinuation { continuation in
            eventLoop.execute { [node] in
                guard let node = node.value else { return continuation.resume() }
                node.stop { continuation.resume() }
            }
        }
    }

    /// The node, for whoever is on its event loop.
    var nodeOnLoop: RedisChannelNode? { node.value }

    /// How many counters have been compared, for tests.
    func comparisons() async -> Int {
        await withCheckedContinuation { continuation in
            eventLoop.execute { [node] in continuation.resume(returning: node.value?.comparisons ?? 0) }
        }
    }

    /// Ends the connections as a crash would.
    func abandon() { perform { $0.abandon() } }

    /// Asks on the event loop; nil when it runs no more.
    func query<Answer: Sendable>(
        _ body: @escaping @Sendable (RedisChannelNode, @escaping (Answer) -> Void) -> Void
    ) async -> Answer? {
        guard !isStopped else { return nil }
        return await withCheckedContinuation { continuation in
            eventLoop.execute { [node] in
                guard let node = node.value else { return continuation.resume(returning: nil) }
                body(node) { continuation.resume(returning: $0) }
            }
        }
    }

    /// How many nodes were alive at the last renewal.
    var nodeCount: Int { status.nodes }

    /// The node's present identity.
    var nodeID: NodeID { status.nodeID }

    /// Whether the engine is there.
    var isUp: Bool { status.isUp }

    /// Runs on the event loop, unless it runs no more.
    func perform(_ body: @escaping @Sendable (RedisChannelNode) -> Void) {
        eventLoop.execute { [node] in if let node = node.value { body(node) } }
    }

    // MARK: Calls in their order

    private func enqueue(_ call: Call) {
        let (isTaken, wakes) = calls.withLock { calls in
            guard !calls.isStopped else { return (false, false) }
            calls.queue.append(call)
            defer { calls.isAwake = true }
            return (true, !calls.isAwake)
        }
        if wakes { eventLoop.execute { self.drain() } }
        guard !isTaken else { return }
        switch call {
        case .publish(_, _, let completion): completion?(.failure(Self.stopped))
        case .subscribe(_, _, _, let completion): completion?(.failure(Self.stopped))
        case .unsubscribe: break
        }
    }

    var isStopped: Bool { calls.withLock { $0.isStopped } }

    private func drain() {
        guard let node = node.value else { return }
        let queue = calls.withLock { calls in
            defer {
                calls.queue = []
                calls.isAwake = false
            }
            return calls.queue
        }
        for call in queue {
            switch call {
            case .publish(let envelope, let id, let completion):
                node.publisher.publish(envelope, idempotencyKey: id, completion)
            case .subscribe(let channel, let known, let reader, let completion):
                let subscription = node.subscriptions.subscribe(channel)
                guard let completion else { continue }
                node.reader.answer(subscription, after: known, reader: reader, completion)
            case .unsubscribe(let channel): node.subscriptions.unsubscribe(channel)
            }
        }
        channelCount.store(node.subscriptions.all.count, ordering: .relaxed)
    }

    // MARK: ChannelBroker

    /// See ``ChannelBroker``.
    func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?) {
        enqueue(.publish(envelope, id: id, completion))
    }

    /// See ``ChannelBroker``.
    func broadcast(
        _ event: ClientBroadcast,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) {
        guard !isStopped else { return completion(.failure(Self.stopped)) }
        perform { $0.publisher.broadcast(event, completion) }
    }

    /// See ``ChannelBroker``.
    func announce(_ notice: MemberNotice, failed: @escaping @Sendable () -> Void) {
        // What is not told before the end, the others notice with the end of the node.
        if !isStopped { perform { $0.publisher.announce(notice, failed: failed) } }
    }

    /// See ``ChannelBroker``.
    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    ) {
        enqueue(.subscribe(channel, position.map(KnownPoint.init), reader: reader, completion))
    }

    /// See ``ChannelBroker``.
    func unsubscribe(_ channel: ChannelName) { enqueue(.unsubscribe(channel)) }

    /// See ``ChannelBroker``.
    func replay(
        of channels: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @Sendable @escaping (Result<Replay, ChannelFailure>) -> Void
    ) {
        guard !isStopped else { return completion(.failure(Self.stopped)) }
        perform {
            $0.reader.replay(of: channels, since: cursor, room: room, overhead: overhead, completion)
        }
    }

    /// See ``ChannelBroker``.
    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(ChannelFailure) -> ChannelHistory {
        try await ask { $0.reader.history(of: channel, part, epoch: epoch, limit: limit, $1) }
    }

    /// See ``ChannelBroker``.
    func head(of channel: ChannelName) async throws(ChannelFailure) -> ChannelHead {
        let point: ChannelPoint = try await ask { $0.reader.look(channel, $1) }
        return ChannelHead(channel: channel, position: point.position(in: channel))
    }

    /// See ``ChannelBroker``.
    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelHead] {
        try await ask { $0.reader.channels(prefix: prefix, after: after, limit: limit, $1) }
    }

    private func ask<Answer: Sendable>(
        _ body: @escaping @Sendable (RedisChannelNode, @escaping (Result<Answer, ChannelFailure>) -> Void) -> Void
    ) async throws(ChannelFailure) -> Answer {
        guard !isStopped else { throw Self.stopped }
        let answer: Result<Answer, ChannelFailure> = await withCheckedContinuation { continuation in
            eventLoop.execute { [node] in
                guard let node = node.value else {
                    return continuation.resume(returning: .failure(.unavailable("The cluster is not ready.")))
                }
                body(node) { continuation.resume(returning: $0) }
            }
        }
        return try answer.get()
    }

    /// See ``ChannelBroker``.
    var ordersEachChannel: Bool { true }

    /// The channels that are subscribed here; histories are at the engine.
    var statistics: ChannelBrokerStatistics {
        ChannelBrokerStatistics(channels: channelCount.load(ordering: .relaxed), historyBytes: 0)
    }
}
