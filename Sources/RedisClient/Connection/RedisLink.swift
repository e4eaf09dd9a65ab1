import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// Who has a connection kept up, and is told of it.
protocol RedisLinkOwner: AnyObject {
    /// Where to connect now; nil when that is not known: then ``RedisLink/connectNow()`` has to be called.
    func address(for link: RedisLink) -> RedisAddress?
    /// The connection is up.
    func linkReady(_ link: RedisLink, _ connection: RedisConnection, _ server: RedisServerInfo)
    /// An attempt has failed, or the connection is lost; another attempt follows by itself.
    func linkFailed(_ link: RedisLink, _ fault: ConnectionFault, wasReady: Bool)
}

/// Keeps one connection up: connects, waits, connects again.
final class RedisLink: ConnectionLifecycle {
    /// A connection that has lived so long lets the pauses begin anew.
    static var minLifetime: TimeAmount { .seconds(5) }

    private let context: RedisContext
    private let purpose: ServerGreeting.Purpose
    private let shard: RedisShardID?
    private weak var owner: (any RedisLinkOwner)?
    private weak var traffic: (any ConnectionTraffic)?

    /// The connection, when it is up.
    private(set) var ready: RedisConnection?
    private var greeting: RedisConnection?
    /// Connections that only wait for their last replies.
    private var retired: [RedisConnection] = []
    private var isConnecting = false
    private var isStopped = false
    /// Tells the results of the current attempt from those of one that was given up.
    private var attempt: UInt64 = 0
    private var backoff: Backoff
    private var timer: LoopTimer?
    private var readySince: NIODeadline?

    /// - Parameter shard: Whom its attempts are told for; nil for a Sentinel or a node asked for slots.
    init(
        context: RedisContext,
        purpose: ServerGreeting.Purpose,
        shard: RedisShardID?,
        owner: any RedisLinkOwner,
        traffic: any ConnectionTraffic
    ) {
        self.context = context
        self.purpose = purpose
        self.shard = shard
        self.owner = owner
        self.traffic = traffic
        backoff = Backoff(context.configuration.backoff)
        timer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.connect() }
    }

    /// Connects without waiting, unless it is connected or at it.
    func connectNow() {
        guard !isStopped, ready == nil, greeting == nil, !isConnecting else { return }
        timer?.cancel()
        connect()
    }

    /// Gives up what there is and connects to where the owner says now.
    func move(_ fault: ConnectionFault) {
        guard !isStopped else { return }
        backoff.reset()
        abandonAttempt()
        if let ready {
            ready.retire(fault)
        }
        connectNow()
    }

    /// Ends it for good.
    ///
    /// - Parameter awaitsReplies: Let what is on its way be answered before the connection is closed.
    func stop(_ fault: ConnectionFault = .closed, awaitsReplies: Bool = false) {
        isStopped = true
        timer?.cancel()
        abandonAttempt()
        let connection = ready
        ready = nil
        if awaitsReplies {
            connection?.retire(fault)
        } else {
            connection?.close(fault)
            for connection in retired { connection.close(fault) }
            retired = []
        }
    }

    private func abandonAttempt() {
        attempt &+= 1
        isConnecting = false
        let connection = greeting
        greeting = nil
        connection?.close(.closed)
    }

    // MARK: Attempts

    private func connect() {
        guard !isStopped, ready == nil, greeting == nil, !isConnecting, let address = owner?.address(for: self) else {
            return
        }
        if attempt > 0 { context.delegate?.redisReconnecting(shard) }
        attempt &+= 1
        isConnecting = true
        let current = attempt
        let maker = NIOLoopBound(
            ConnectionMaker(address: address, purpose: purpose, context: context),
            eventLoop: context.eventLoop
        )
        ClientBootstrap(group: context.eventLoop)
            .connectTimeout(context.configuration.commandTimeout)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try maker.value.buildPipeline(of: channel) }
            }
            .connect(host: address.host, port: address.port)
            .assumeIsolated()
            .whenComplete { result in
                // The future completes before the channel is active, and a channel that closes before it is active
                // never reports that it has become inactive.
                self.context.later { self.connected(result, to: address, attempt: current) }
            }
    }

    private func connected(_ result: Result<any Channel, any Error>, to address: RedisAddress, attempt current: UInt64)
    {
        guard current == attempt, !isStopped else {
            if case .success(let channel) = result { channel.close(promise: nil) }
            return
        }
        isConnecting = false
        switch result {
        case .failure(let error): failed(.of(error, at: address), wasReady: false)
        case .success(let channel):
            guard let connection = try? channel.pipeline.syncOperations.handler(type: RedisConnection.self),
                connection.state == .greeting
            else { return failed(.network("\(address) closed the connection."), wasReady: false) }
            greeting = connection
            connection.start(lifecycle: self, traffic: traffic)
        }
    }

    func connectionReady(_ connection: RedisConnection, server: RedisServerInfo) {
        guard connection === greeting else { return }
        greeting = nil
        ready = connection
        readySince = context.eventLoop.now
        owner?.linkReady(self, connection, server)
    }

    func connectionEnded(_ connection: RedisConnection, _ fault: ConnectionFault) {
        if connection === greeting {
            greeting = nil
            failed(fault, wasReady: false)
        } else if connection === ready {
            ready = nil
            retired.removeAll { $0.state == .closed }
            if connection.state == .retired { retired.append(connection) }
            if let readySince, context.eventLoop.now - readySince >= Self.minLifetime { backoff.reset() }
            failed(fault, wasReady: true)
        }
    }

    private func failed(_ fault: ConnectionFault, wasReady: Bool) {
        guard !isStopped else { return }
        context.logger.debug("A connection to Redis failed.", metadata: ["reason": "\(fault.sentence)"])
        timer?.setNoLater(than: context.eventLoop.now + context.pause(&backoff))
        owner?.linkFailed(self, fault, wasReady: wasReady)
    }
}

/// Builds the pipeline of an attempt.
private struct ConnectionMaker {
    let address: RedisAddress
    let purpose: ServerGreeting.Purpose
    let context: RedisContext

    func buildPipeline(of channel: any Channel) throws {
        let pipeline = channel.pipeline.syncOperations
        // First what decrypts.
        if let tls = context.configuration.tls {
            // An IP address is no name for SNI; the certificate is then compared with the address itself.
            let isAddress = (try? SocketAddress(ipAddress: address.host, port: address.port)) != nil
            try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : address.host))
        }
        // Then who speaks RESP3.
        try pipeline.addHandler(
            RedisConnection(
                address: address,
                purpose: purpose,
                configuration: context.configuration,
                eventLoop: context.eventLoop
            )
        )
    }
}
