import Logging
import NIOCore

/// Who owns shards.
protocol RedisShardOwner: AnyObject {
    /// The command connection has come up or is lost.
    func shardChanged(_ shard: RedisShard, _ why: String)
    /// A connection could not be made or is lost.
    func shardFailed(_ shard: RedisShard, _ fault: ConnectionFault)
    /// A server's version is known.
    func shardSaw(_ version: RedisVersion, of shard: RedisShard)
    /// The server has said: not here, or not now.
    func redirected(_ request: RedisRequest?, _ redirect: Redirect, _ reply: RedisErrorReply)
    /// A request was certainly not carried out, for this reason; it may be tried again.
    func requestReturned(_ request: RedisRequest, _ why: String)
    /// A server has ended subscriptions.
    func subscriptionsRevoked()
    /// Whether subscriptions are sharded ones.
    var usesShardedPubSub: Bool { get }
}

/// A master: a connection for commands, one for subscriptions, and what waits for them.
final class RedisShard: RedisLinkOwner {
    let id: RedisShardID
    let context: RedisContext
    weak var owner: (any RedisShardOwner)?
    /// Where the master is; nil when nobody has said yet.
    private(set) var address: RedisAddress?
    /// It exists only for `ASK`, owns no slot that we know of, and nobody is told of it.
    private(set) var isTemporary: Bool
    /// When it was used last, if it is temporary.
    private(set) var usedAt: NIODeadline

    private let inCluster: Bool
    private var commands: RedisLink?
    private var subscriber: RedisLink?
    private var waiting = PendingQueue<RedisRequest>(keepsPlaces: false)
    private var waitingTimer: LoopTimer?
    private var outage: OutageLog
    private var lastFault: ConnectionFault?
    private var isOut = false
    /// What the master said of itself at last.
    private(set) var server: RedisServerInfo?
    var replicationID: String?
    var subscriptions: ShardSubscriptions

    init(
        id: RedisShardID,
        address: RedisAddress?,
        context: RedisContext,
        owner: any RedisShardOwner,
        inCluster: Bool,
        isTemporary: Bool = false
    ) {
        self.id = id
        self.address = address
        self.context = context
        self.owner = owner
        self.inCluster = inCluster
        self.isTemporary = isTemporary
        usedAt = context.eventLoop.now
        outage = OutageLog(logger: context.logger, name: inCluster ? "Redis at \(id)" : "Redis")
        subscriptions = ShardSubscriptions(context: context)
        waitingTimer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.expireWaiting() }
        subscriptions.shard = self
    }

    /// True when commands can be sent.
    var isUp: Bool { commands?.ready != nil }
    /// The command connection, when it is up.
    var commandConnection: RedisConnection? { commands?.ready }
    /// The connection of the subscriptions, when it is up.
    var subscriberConnection: RedisConnection? { subscriber?.ready }

    // MARK: Life

    /// Begins to connect.
    func start() {
        guard commands == nil else { return }
        commands = makeLink(isTemporary ? nil : id)
        commands?.connectNow()
        if !isTemporary { startSubscriber() }
    }

    private func startSubscriber() {
        subscriber = makeLink(id)
        subscriber?.connectNow()
    }

    private func makeLink(_ shard: RedisShardID?) -> RedisLink {
        RedisLink(context: context, purpose: .master(inCluster: inCluster), shard: shard, owner: self, traffic: self)
    }

    /// It owns slots now.
    func becomePermanent() {
        guard isTemporary else { return }
        isTemporary = false
        startSubscriber()
        if isUp, let server { tellConnected(server) }
    }

    /// Connects to another address at once; at the same one, attempts go on as they are.
    func move(to address: RedisAddress, _ why: String) {
        guard address != self.address else { return }
        self.address = address
        let fault = ConnectionFault.role(why)
        commands?.move(fault)
        subscriber?.move(fault)
    }

    /// Connects the subscriptions anew.
    func renewSubscriber(_ why: String) { subscriber?.move(.network(why)) }

    /// Ends it for good; returns what waited for a connection.
    func stop(_ fault: ConnectionFault) -> [RedisRequest] {
        waitingTimer?.cancel()
        if isUp, !isTemporary, !isOut {
            isOut = true
            context.delegate?.redisDisconnected(id, fault.sentence)
        }
        if fault.kind != .closed { outage.abandoned(fault.sentence) }
        commands?.stop(fault, awaitsReplies: fault.kind != .closed)
        subscriber?.stop(fault)
        subscriptions.connectionLost()
        var rest: [RedisRequest] = []
        while let request = waiting.popFirstLive() { rest.append(request) }
        return rest
    }

    // MARK: Requests

    /// Sends a request, or lets it wait for a connection.
    func send(_ request: RedisRequest) {
        usedAt = context.eventLoop.now
        if waiting.liveCount == 0, let connection = commands?.ready {
            switch connection.send(request) {
            case .accepted: return
            case .full: return context.later { request.fail(.notSent(.full)) }
            case .closed: break
            }
        }
        guard request.command.followsRedirects else {
            let why = lastFault?.sentence ?? "There is no connection."
            return context.later { request.fail(.notSent(.unavailable(why))) }
        }
        guard waiting.liveCount < RedisConfiguration.maxWaitingCommands,
            waiting.bytes + request.size <= context.configuration.maxPendingBytes
        else { return context.later { request.fail(.notSent(.full)) } }
        waiting.append(request, bytes: request.size, deadline: request.deadline)
        waitingTimer?.setNoLater(than: request.deadline)
    }

    /// Sends a request on the connection of the subscriptions, or says why that cannot be.
    func sendOnSubscriber(_ request: RedisRequest) -> RedisFailure.NotSentReason? {
        guard let connection = subscriber?.ready else {
            return .unavailable(lastFault?.sentence ?? "The connection for subscriptions is not up.")
        }
        switch connection.send(request) {
        case .accepted: return nil
        case .full: return .full
        case .closed: return .unavailable("The connection for subscriptions is not up.")
        }
    }

    private func sendWaiting() {
        while let connection = commands?.ready, let request = waiting.popFirstLive() {
            switch connection.send(request) {
            case .accepted: break
            case .full: request.fail(.notSent(.full))
            case .closed: owner?.requestReturned(request, "The connection was closed.")
            }
        }
    }

    private func expireWaiting() {
        for request in waiting.expire(at: context.eventLoop.now) {
            request.fail(request.expiry(lastFault?.sentence))
        }
        if let next = waiting.nextDeadline() { waitingTimer?.setNoLater(than: next) }
    }

    // MARK: Links

    func address(for link: RedisLink) -> RedisAddress? { address }

    func linkReady(_ link: RedisLink, _ connection: RedisConnection, _ server: RedisServerInfo) {
        self.server = server
        owner?.shardSaw(server.version, of: self)
        if link === commands {
            if !isTemporary {
                if server.replicationID == nil, !context.toldOfMissingInfo {
                    context.toldOfMissingInfo = true
                    context.logger.warning(
                        "The ACL of Redis forbids INFO, so lost data after a restart or failover is noticed later; allow +info to the user of CLUSTER_URL."
                    )
                }
                tellConnected(server)
                if server.replicationID != nil { warnOfEviction(connection) }
            }
            sendWaiting()
        } else if link === subscriber {
            subscriptions.connectionUp(connection, isSharded: owner?.usesShardedPubSub ?? false)
        }
        // The server is there, so the other connection need not wait for its next attempt either.
        (link === commands ? subscriber : commands)?.connectNow()
        if isUp, isTemporary || subscriber?.ready != nil {
            lastFault = nil
            if !isTemporary { outage.ended(at: context.eventLoop.now) }
        }
    }

    private func tellConnected(_ server: RedisServerInfo) {
        isOut = false
        let before = replicationID
        replicationID = server.replicationID ?? before
        context.delegate?.redisConnected(id, server: server)
        owner?.shardChanged(self, "The connection is up.")
        if let before, let now = server.replicationID, before != now { context.delegate?.redisIdentityChanged(id) }
    }

    private func warnOfEviction(_ connection: RedisConnection) {
        let deadline = context.eventLoop.now + context.configuration.commandTimeout
        var request = RedisRequest(EvictionPolicy.question, deadline: deadline) { [context] result in
            guard let policy = (try? result.get()).flatMap(EvictionPolicy.init(info:)), policy != context.toldOfEviction
            else { return }
            context.toldOfEviction = policy
            context.logger.warning(
                "Redis removes keys when its memory is full, and what Sidesocket keeps with them; set maxmemory-policy to noeviction.",
                metadata: ["policy": "\(policy.name)"]
            )
        }
        request.staysOnConnection = true
        // Where it cannot be asked, nothing depends on the answer.
        _ = connection.send(request)
    }

    func linkFailed(_ link: RedisLink, _ fault: ConnectionFault, wasReady: Bool) {
        lastFault = fault
        if !isTemporary { outage.began(fault, at: context.eventLoop.now) }
        if link === commands, !isTemporary {
            if !isOut {
                isOut = true
                context.delegate?.redisDisconnected(id, fault.sentence)
            }
            if wasReady { owner?.shardChanged(self, fault.sentence) }
        } else if link === subscriber, wasReady {
            subscriptions.connectionLost()
        }
        owner?.shardFailed(self, fault)
    }
}
