public import Logging
public import NIOCore

/// A client of Redis: one master, a master that Sentinels choose, or a cluster; commands and subscriptions.
///
/// Everything happens on one event loop: call its methods there; completions and delegate are called there. It connects
/// by itself again and again until ``close()``, which has to be called at the end.
public final class RedisClient {
    private let context: RedisContext
    private var topology: (any TopologyKeeper)?
    private var patience: PatientRequests?
    private var wasUp = false
    private var isClosed = false
    /// What is wanted, by slot; without a cluster all in slot 0.
    private var channels: [Int: Set<RedisChannel>] = [:]
    private let isCluster: Bool

    /// True when the servers of a cluster know sharded subscriptions (version 7); then messages have to be published
    /// with `SPUBLISH`, otherwise with `PUBLISH`.
    public private(set) var usesShardedPubSub = false

    /// Makes a client that does nothing yet; see ``start()``.
    ///
    /// - Parameter delegate: Who is told; not kept alive.
    public init(
        _ configuration: RedisConfiguration,
        eventLoop: any EventLoop,
        logger: Logger,
        delegate: (any RedisClientDelegate)? = nil
    ) {
        context = RedisContext(
            configuration: configuration,
            eventLoop: eventLoop,
            logger: logger,
            delegate: delegate
        )
        if case .cluster = configuration.topology { isCluster = true } else { isCluster = false }
        patience = PatientRequests(context: context) { [weak self] in self?.route($0) }
        switch configuration.topology {
        case .standalone(let address):
            topology = SingleTopology(address: address, context: context, owner: self)
        case .sentinel(let addresses, let service):
            topology = SingleTopology(sentinels: addresses, service: service, context: context, owner: self)
        case .cluster(let addresses):
            topology = ClusterTopology(seeds: addresses, context: context, owner: self)
        }
    }

    /// Who is told; not kept alive.
    public var delegate: (any RedisClientDelegate)? {
        get { context.delegate }
        set { context.delegate = newValue }
    }

    /// Begins to connect.
    public func start() {
        guard !isClosed else { return }
        topology?.start()
    }

    /// Closes all connections: what was sent fails as unknown, what was not as not sent. The delegate is not called any
    /// more.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        context.delegate = nil
        topology?.stop()
        for shard in topology?.shards ?? [] {
            for request in shard.stop(.closed) { request.fail(.notSent(.closed)) }
        }
        for request in patience?.close() ?? [] { request.fail(.notSent(.closed)) }
        topology = nil
    }

    // MARK: Commands

    /// Sends a command to the master of its key.
    ///
    /// While there is no connection it waits for one, until its time is over. `completion` is called exactly once, and
    /// never before this returns. A command that blocks, such as `XREAD BLOCK`, holds up everything behind it, probes
    /// too: it may block for less than ``RedisConfiguration/probeInterval``.
    public func send(_ command: RedisCommand, _ completion: @escaping (Result<RESPValue, RedisFailure>) -> Void) {
        route(request(command, completion))
    }

    /// Sends a command on the connection that has the subscriptions of its key's slot.
    ///
    /// Replies and messages come in one order there: what was published before the command ran on the server has been
    /// received before its reply. Without such a connection it fails with `.notSent`; it is never sent elsewhere, but
    /// fails with `.redirected` when the server names another one.
    public func sendOnSubscriber(
        _ command: RedisCommand,
        _ completion: @escaping (Result<RESPValue, RedisFailure>) -> Void
    ) {
        var request = request(command, completion)
        request.staysOnConnection = true
        let reason: RedisFailure.NotSentReason?
        if isClosed {
            reason = .closed
        } else if let shard = topology?.shard(forKey: command.slotKey) {
            reason = shard.sendOnSubscriber(request)
        } else {
            reason = .unavailable(topology?.obstacle ?? "The masters are not known yet.")
        }
        if let reason { context.later { request.fail(.notSent(reason)) } }
    }

    private func request(
        _ command: RedisCommand,
        _ completion: @escaping (Result<RESPValue, RedisFailure>) -> Void
    ) -> RedisRequest {
        // A sum beyond what a deadline holds would trap.
        let timeout = min(max(command.timeout ?? context.configuration.commandTimeout, .zero), .hours(24))
        return RedisRequest(command, deadline: context.eventLoop.now + timeout, completion: completion)
    }

    private func route(_ request: RedisRequest) {
        guard !isClosed, let topology else { return context.later { request.fail(.notSent(.closed)) } }
        if let shard = topology.shard(forKey: request.command.slotKey) {
            shard.send(request)
        } else {
            postpone(request, topology.obstacle)
        }
    }

    private func postpone(_ request: RedisRequest, _ why: String?) {
        var request = request
        request.obstacle = why ?? request.obstacle
        if !isClosed, !request.command.followsRedirects {
            let why = request.obstacle ?? "There is no connection."
            return context.later { request.fail(.notSent(.unavailable(why))) }
        }
        if isClosed || patience?.add(request) != true {
            let reason = isClosed ? RedisFailure.NotSentReason.closed : .full
            context.later { request.fail(.notSent(reason)) }
        }
    }

    // MARK: Subscriptions

    /// Subscribes from now on, over all reconnections; channels that are subscribed already are left alone.
    public func subscribe(_ channels: [RedisChannel]) {
        guard !isClosed else { return }
        for channel in channels {
            let slot = slot(of: channel)
            guard self.channels[slot, default: []].insert(channel).inserted else { continue }
            shard(of: channel)?.subscriptions.want(channel, slot: slot)
        }
    }

    /// Ends subscriptions; those that do not exist are left alone.
    public func unsubscribe(_ channels: [RedisChannel]) {
        guard !isClosed else { return }
        for channel in channels {
            let slot = slot(of: channel)
            guard self.channels[slot]?.remove(channel) != nil else { continue }
            if self.channels[slot]?.isEmpty == true { self.channels[slot] = nil }
            shard(of: channel)?.subscriptions.unwant(channel)
        }
    }

    private func slot(of channel: RedisChannel) -> Int { isCluster ? HashSlot.of(channel.name) : 0 }

    private func shard(of channel: RedisChannel) -> RedisShard? {
        topology?.shard(forKey: isCluster ? channel.name : nil)
    }

    // MARK: State

    /// True when the masters are known and each has its command connection.
    public var isUp: Bool {
        guard let topology, !isClosed else { return false }
        let shards = topology.shards.filter { !$0.isTemporary }
        return !shards.isEmpty && topology.obstacle == nil && shards.allSatisfy(\.isUp)
    }

    /// True when the master of a key has its command connection.
    public func isUp(forKey key: String) -> Bool { !isClosed && topology?.shard(forKey: key)?.isUp == true }

    /// The shard that a key belongs to; nil when the owner of its slot is not known.
    public func shard(ofKey key: String) -> RedisShardID? {
        topology?.shard(forKey: key)?.id
    }

    private func tellIfUpChanged(_ why: String) {
        let isUp = isUp
        guard isUp != wasUp else { return }
        wasUp = isUp
        context.delegate?.redisIsUpChanged(isUp, why)
    }
}

extension RedisClient: RedisShardOwner {
    /// A command follows so many redirects without a pause.
    private static var maxImmediateRedirects: Int { 5 }

    func shardChanged(_ shard: RedisShard, _ why: String) { tellIfUpChanged(why) }

    func shardFailed(_ shard: RedisShard, _ fault: ConnectionFault) { topology?.shardFailed(shard, fault) }

    func shardSaw(_ version: RedisVersion, of shard: RedisShard) {
        guard isCluster, let topology else { return }
        let versions = topology.shards.compactMap(\.server?.version)
        let sharded = !versions.isEmpty && versions.allSatisfy { $0 >= RedisVersion(7, 0) }
        guard sharded != usesShardedPubSub else { return }
        usesShardedPubSub = sharded
        for shard in topology.shards where shard.subscriberConnection != nil {
            shard.renewSubscriber("The cluster's version has changed.")
        }
    }

    func redirected(_ request: RedisRequest?, _ redirect: Redirect, _ reply: RedisErrorReply) {
        topology?.learn(redirect)
        guard var request else { return }
        request.asks = false
        request.redirects += 1
        // Servers that disagree could send it back and forth without end.
        if request.redirects > Self.maxImmediateRedirects { return postpone(request, reply.sentence) }
        switch redirect {
        case .moved: route(request)
        case .ask(let address):
            guard let shard = topology?.shard(at: address) else { return postpone(request, reply.sentence) }
            request.asks = true
            shard.send(request)
        case .notMaster, .loading, .clusterDown, .tryAgain: postpone(request, reply.sentence)
        }
    }

    func requestReturned(_ request: RedisRequest, _ why: String) {
        // Sent later, it could come behind what its caller has sent since.
        guard request.command.followsRedirects else { return request.fail(.redirected) }
        postpone(request, why)
    }

    func subscriptionsRevoked() { topology?.subscriptionsRevoked() }
}

extension RedisClient: ClusterTopologyOwner {
    func slotsMoved(_ moves: [SlotMove], _ why: String) {
        guard !isClosed else { return }
        var interrupted: [RedisChannel] = []
        for move in moves {
            for channel in channels[move.slot] ?? [] {
                if move.from?.subscriptions.unwant(channel) == true { interrupted.append(channel) }
            }
        }
        if !interrupted.isEmpty { context.delegate?.redisInterrupted(interrupted) }
        for move in moves {
            for channel in channels[move.slot] ?? [] {
                shard(of: channel)?.subscriptions.want(channel, slot: move.slot)
            }
        }
        tellIfUpChanged(why)
        patience?.retryNow()
    }
}

extension RedisClient {
    /// True when each shard has its connection for subscriptions, too; for tests.
    var hasAllSubscribers: Bool {
        guard let topology else { return false }
        return topology.shards.allSatisfy { $0.isTemporary || $0.subscriberConnection != nil }
    }
}
