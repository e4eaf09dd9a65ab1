internal import Hummingbird
internal import HummingbirdCore
internal import HummingbirdTLS
internal import ListenerSupport
public import Logging
internal import NIOCore
internal import NIOPosix
public import NIOSSL
public import ServiceLifecycle
public import SidecarCore

/// The control listener: metrics, health and readiness over HTTP, apart from the public port.
///
/// It runs on NIO's shared threads and not on those of the sockets, so that a scrape never waits for sockets nor sockets
/// for a scrape. As the first service of a `ServiceGroup` it is the last one to be shut down, and answers all through a
/// drain.
public struct ControlPlane: Service, CustomStringConvertible {
    /// Connections at once per address; above it the one that has waited longest for a request makes room.
    static let maxConnections = 512
    /// As many more while all of these have an answer on its way; others wait in the backlog.
    static let maxConnectionsInExcess = 64
    /// Bytes of all header lines of a request.
    static let maxHeaderBytes = 16 * 1_024
    /// Header lines of a request.
    static let maxHeaders = 100
    /// How long to wait after a failed accept.
    static let acceptPause = TimeAmount.milliseconds(200)

    private let addresses: [ControlAddress]
    private let metrics: @Sendable (_ openMetrics: Bool) -> String
    private let readiness: @Sendable () -> Readiness
    private let token: String?
    private let drain: @Sendable () -> Void
    private let api: ConnectionsAPI?
    private let channels: ChannelsAPI?
    private let audit: APIAudit
    private let tls: TLSConfiguration?
    private let logger: Logger
    private let onRunning: @Sendable (_ address: ControlAddress) -> Void
    /// The longest time that one exchange may take, idle time before it included.
    var exchangeLimit = TimeAmount.seconds(60)
    /// The same while the listener shuts down.
    var exchangeLimitInShutdown = TimeAmount.seconds(1)

    /// The service library logs its services by this text, so it must not contain the token.
    public var description: String { "ControlPlane" }

    /// Creates a listener that starts to listen in ``run()``.
    ///
    /// - Parameters:
    ///   - metrics: the body of `/metrics`, in OpenMetrics or Prometheus text format; called from any thread.
    ///   - readiness: the reading for `/readyz`; called from any thread.
    ///   - token: the bearer token of the API; nil: the API answers on loopback addresses and Unix sockets only.
    ///   - drain: starts a drain; called from any thread.
    ///   - connections: what the API asks about connections; nil: it has none of that.
    ///   - maxMessageBytes: the largest message that the API sends to a client.
    ///   - publishRate: how fast may be published through the API; nil: as fast as one can.
    ///   - audit: hears of every change through the API, and of every call that was refused.
    ///   - onRefusalsLimited: called for each call that came to nothing and that it does not hear of, since its address
    ///     has made too many of them; ``audit`` hears of them in one line a minute.
    ///   - tls: what TCP addresses speak; nil for plain HTTP.
    ///   - onRunning: called once per address that listens, with the port that it got.
    public init(
        addresses: [ControlAddress],
        metrics: @escaping @Sendable (_ openMetrics: Bool) -> String,
        readiness: @escaping @Sendable () -> Readiness,
        token: String? = nil,
        drain: @escaping @Sendable () -> Void = {},
        connections: (any ConnectionOperator)? = nil,
        maxMessageBytes: @escaping @Sendable () -> Int = { 1 << 20 },
        publishRate: Rate? = nil,
        audit: @escaping @Sendable (AuditRecord) -> Void = { _ in },
        onRefusalsLimited: @escaping @Sendable () -> Void = {},
        tls: TLSConfiguration? = nil,
        logger: Logger,
        onRunning: @escaping @Sendable (_ address: ControlAddress) -> Void = { _ in }
    ) {
        self.addresses = addresses
        self.metrics = metrics
        self.readiness = readiness
        self.token = token
        self.drain = drain
        let audit = APIAudit(onLimited: onRefusalsLimited, audit)
        self.api = connections.map { ConnectionsAPI(connections: $0, audit: audit) }
        let rate = PublishRate(publishRate)
        self.channels = connections.map {
            ChannelsAPI(connections: $0, audit: audit, maxMessageBytes: maxMessageBytes, rate: rate)
        }
        self.audit = audit
        self.tls = tls
        self.logger = logger
        self.onRunning = onRunning
    }

    /// Listens until it is shut down gracefully or cancelled.
    ///
    /// - Throws: the error of an address that could not be bound; the other addresses are closed then.
    public func run() async throws {
        defer { self.audit.writeSummary() }
        // One that is never shut down: a task of the server may use it after the server has ended.
        let group = MultiThreadedEventLoopGroup.singleton
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for address in self.addresses {
                let application = self.application(for: address, group: group)
                tasks.addTask {
                    do {
                        try await application.run()
                    } catch  where !(error is CancellationError) {
                        throw ControlListenError(address: address, cause: error)
                    }
                }
            }
            // Unlike `waitForAll`, this stops at the first error, which cancels the others.
            while try await tasks.next() != nil {}
        }
    }

    private func application(
        for address: ControlAddress,
        group: MultiThreadedEventLoopGroup
    ) -> Application<RouterResponder<ControlContext>> {
        let limit = self.exchangeLimit
        let limitInShutdown = self.exchangeLimitInShutdown
        let onRunning = self.onRunning
        let logger = self.logger
        // The framework's own log lines are of no use to an operator.
        var quiet = logger
        quiet.logLevel = .critical
        let limiter = ConnectionLimiter(capacity: Self.maxConnections)
        let http = HTTPServerBuilder.http1(
            configuration: .init(
                additionalChannelHandlers: [
                    ExchangeDeadlineHandler(limit: limit, limitInShutdown: limitInShutdown, limiter: limiter),
                    ContinueHandler(),
                ],
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: Self.maxHeaderBytes,
                    maxHeaderListSize: Self.maxHeaderBytes,
                    maxHeaderFieldCount: Self.maxHeaders
                )
            )
        )
        return Application(
            router: ControlRoutes.router(
                metrics: self.metrics,
                readiness: self.readiness,
                access: self.token.map { .token($0) } ?? (address.isLoopback ? .open : .closed),
                drain: self.drain,
                api: self.api,
                channels: self.channels,
                audit: self.audit,
                logger: logger
            ),
            server: self.server(for: address, http),
            configuration: ApplicationConfiguration(
                address: address.bindAddress,
                availableConnectionsDelegate: .maximum(
                    Self.maxConnections + Self.maxConnectionsInExcess,
                    logger: logger
                )
            ),
            onServerRunning: { channel in
                await Self.surviveAcceptErrors(channel, logger: logger)
                let bound = address.bound(to: channel.localAddress)
                logger.notice("control listener", metadata: ["address": "\(bound)"])
                onRunning(bound)
            },
            eventLoopGroupProvider: .shared(group),
            logger: quiet
        )
    }

    /// A Unix socket needs no TLS. The configuration has been tried out at the start.
    private func server(for address: ControlAddress, _ http: HTTPServerBuilder) -> HTTPServerBuilder {
        guard let tls = self.tls, case .tcp = address,
            let server = try? HTTPServerBuilder.tls(http, tlsConfiguration: tls)
        else { return http }
        return server
    }

    /// Goes in front of what the server put there, before the server takes its first connection.
    private static func surviveAcceptErrors(_ channel: any Channel, logger: Logger) async {
        do {
            try await channel.eventLoop.submit {
                try channel.pipeline.syncOperations.addHandler(
                    AcceptErrorHandler(listener: "control", pause: self.acceptPause, logger: logger),
                    position: .first
                )
            }.get()
        } catch {
            // Only a channel that is closed already takes no handler.
            logger.debug("control listener closed at once", metadata: ["error": "\(error)"])
        }
    }
}

extension ControlAddress {
    fileprivate var bindAddress: BindAddress {
        switch self {
        case .tcp(let host, let port): .hostname(host, port: port)
        case .unix(let path): .unixDomainSocket(path: path)
        }
    }

    /// The same address with the port that the system chose.
    fileprivate func bound(to address: SocketAddress?) -> ControlAddress {
        guard case .tcp(let host, _) = self, let port = address?.port else { return self }
        return .tcp(host: host, port: port)
    }
}
