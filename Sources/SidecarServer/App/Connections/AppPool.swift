import NIOCore
import NIOPosix
import NIOSSL
import SidecarCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The connections of one event loop to one origin of the app.
///
/// The connection used last is used next, so that connections that are not needed become old and close.
final class AppPool {
    let origin: AppOrigin
    private let eventLoop: any EventLoop
    private let timers: ShardTimers
    private let flushes: FlushQueue
    var configuration: ServerConfiguration
    private let state: ServerState
    /// Whether it leads to the app, so that failures tell something about the app's health.
    private let isApp: Bool
    private var idle: [AppConnection] = []
    private var isClosed = false
    /// Exchanges in flight, including those that wait for a connection.
    private(set) var inUse = 0

    init(
        origin: AppOrigin,
        eventLoop: any EventLoop,
        timers: ShardTimers,
        flushes: FlushQueue,
        configuration: ServerConfiguration,
        state: ServerState,
        isApp: Bool = true
    ) {
        self.isApp = isApp
        self.origin = origin
        self.eventLoop = eventLoop
        self.timers = timers
        self.flushes = flushes
        self.configuration = configuration
        self.state = state
    }

    /// Finds or opens a connection for an exchange.
    ///
    /// - Parameter fresh: Don't use a kept-alive connection; for the retry after a stale one.
    func run(_ exchange: any AppExchange, fresh: Bool = false) {
        inUse += 1
        if fresh || !reuse(for: exchange) { connect(for: exchange) }
    }

    private func reuse(for exchange: any AppExchange) -> Bool {
        guard let connection = idle.popLast() else { return false }
        connection.begin(exchange)
        return true
    }

    /// An exchange has ended, successfully or not.
    func exchangeEnded() { inUse -= 1 }

    func release(_ connection: AppConnection, at now: NIODeadline) {
        if isClosed || !connection.isAttached || connection.isOld(at: now) {
            connection.close()
            return
        }
        idle.append(connection)
        connection.rest(until: now + ServerConfiguration.appConnectionIdle)
    }

    /// Removes a connection that has closed.
    func forget(_ connection: AppConnection) {
        if let index = idle.lastIndex(where: { $0 === connection }) { idle.remove(at: index) }
    }

    /// Closes the idle connections, and from now on those that come back.
    func close() {
        isClosed = true
        let connections = idle
        idle = []
        for connection in connections { connection.close() }
    }

    func connectionClosed() {
        state.descriptors.adjust(by: -1)
    }

    private func connect(for exchange: any AppExchange) {
        guard !state.descriptors.isSpent else {
            fail(exchange, .connect("No file descriptor is left for it."))
            return
        }
        attempt(for: exchange, until: .now() + ServerConfiguration.connectTimeout)
    }

    private func attempt(for exchange: any AppExchange, until deadline: NIODeadline) {
        state.descriptors.adjust(by: 1)
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(min(ServerConfiguration.connectTimeout, configuration.settings.webhookTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try bound.value.buildPipeline(of: channel)
                }
            }
        let connected: EventLoopFuture<any Channel>
        switch origin {
        case .tcp(let host, let port, _): connected = bootstrap.connect(host: host, port: port)
        case .unix(let path): connected = bootstrap.connect(unixDomainSocketPath: path)
        }
        connected.assumeIsolated().whenComplete { result in
            // The future completes before the channel is active, and a channel that closes before it is active never
            // reports that it has become inactive: bytes gathered for it would go to the next owner of its descriptor.
            self.eventLoop.assumeIsolated().execute { self.connected(result, for: exchange, until: deadline) }
        }
    }

    private func connected(
        _ result: Result<any Channel, any Error>,
        for exchange: any AppExchange,
        until deadline: NIODeadline
    ) {
        switch result {
        case .success(let channel):
            if isApp { state.noteApp(reachable: true) }
            guard let connection = try? channel.pipeline.syncOperations.handler(type: AppConnection.self),
                connection.isAttached
            else {
                // It has closed in the meantime.
                fail(exchange, .connectionLost)
                return
            }
            if exchange.isCancelled {
                exchangeEnded()
                release(connection, at: .now())
            } else {
                connection.begin(exchange)
            }
        case .failure(let error):
            connectionClosed()
            if exchange.isCancelled { return exchangeEnded() }
            if let error = error as? IOError, error.errnoCode == EAGAIN, .now() < deadline {
                // A Unix socket whose backlog is full refuses at once, where TCP would wait. A connection that another
                // exchange has finished with can be used as well.
                eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(5)) {
                    if exchange.isCancelled { return self.exchangeEnded() }
                    if !self.reuse(for: exchange) { self.attempt(for: exchange, until: deadline) }
                }
                return
            }
            if isApp { state.noteApp(reachable: false) }
            if case .connectTimeout? = error as? ChannelError {
                fail(exchange, .timeout)
            } else {
                fail(exchange, .connect(PlainError.sentence(for: error) + "."))
            }
        }
    }

    /// Top to bottom: TLS when the origin speaks it, then the one handler that reads answers.
    private func buildPipeline(of channel: any Channel) throws {
        var isEncrypted = false
        if case .tcp(let host, _, tls: true) = origin, let context = configuration.tlsContext {
            isEncrypted = true
            let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
            try channel.pipeline.syncOperations.addHandler(
                // Server Name Indication names hosts only (RFC 6066 §3).
                NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host)
            )
        }
        try channel.pipeline.syncOperations.addHandler(
            AppConnection(
                pool: self,
                timers: timers,
                output: SocketOutput(queue: flushes),
                isEncrypted: isEncrypted,
                limits: configuration.replyLimits
            )
        )
    }

    private func fail(_ exchange: any AppExchange, _ failure: DeliveryFailure) {
        exchangeEnded()
        exchange.appFailed(failure, wasStale: false)
    }
}
