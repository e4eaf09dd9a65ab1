import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// All that one event loop owns: its connections to the app, its timers, its sessions.
///
/// Nothing here is shared, so nothing on the way of a message takes a lock or changes the loop, but for the
/// permits of `WEBHOOK_MAX_IN_FLIGHT`, which hold over all loops.
final class LoopShard {
    let eventLoop: any EventLoop
    private(set) var configuration: ServerConfiguration
    let state: ServerState
    let metrics: ServerMetrics
    let log: LoopLog
    let sessions: SessionRegistry
    /// What sessions are given of all this.
    let sessionContext: SessionContext
    let timers: ShardTimers
    let flushes: FlushQueue
    let sendBuffers: SendBuffers
    private(set) var admission: AdmissionGuard
    let codecs = DeflateCodecs()
    let channels: LoopSubscriptions
    let app: AppPools
    let webhooks: WebhookSender

    /// A buffer for what is written at once; writing into it costs no allocation while nobody else holds it.
    var scratch = ByteBufferAllocator().buffer(capacity: 2048)
    /// The same, for a message while it is compressed.
    var compressed = ByteBufferAllocator().buffer(capacity: 0)

    private var httpHandlers: [ObjectIdentifier: EdgeHTTPHandler] = [:]
    private var healthChecks: [HealthCheck] = []
    private var keySetFetcher: KeySetFetcher?
    private var keySetPool: AppPool?
    private var occupancyReporter: OccupancyReporter?
    private var webSockets = 0
    private var departing: [ObjectIdentifier: WebSocketHandler] = [:]

    init(
        eventLoop: any EventLoop,
        configuration: ServerConfiguration,
        state: ServerState,
        metrics: ServerMetrics,
        admission: AdmissionGuard,
        logger: Logger
    ) {
        self.admission = admission
        self.eventLoop = eventLoop
        self.configuration = configuration
        self.state = state
        self.metrics = metrics
        let log = LoopLog(logger)
        self.log = log
        let timers = ShardTimers(eventLoop: eventLoop)
        self.timers = timers
        let flushes = FlushQueue(eventLoop: eventLoop)
        self.flushes = flushes
        sendBuffers = SendBuffers(
            budget: state.sendBuffers,
            loops: state.sendBufferLoops,
            limits: SendLimits(configuration.settings),
            metrics: metrics,
            eventLoop: eventLoop
        )
        channels = LoopSubscriptions(fanout: state.channels, flushes: flushes, eventLoop: eventLoop)
        let app = AppPools(settings: configuration.settings, gate: state.gate) { origin in
            AppPool(
                origin: origin,
                eventLoop: eventLoop,
                timers: timers,
                flushes: flushes,
                configuration: configuration,
                state: state
            )
        }
        self.app = app
        webhooks = WebhookSender(
            eventLoop: eventLoop,
            timers: timers,
            gate: state.gate,
            app: app,
            logger: logger,
            configuration: configuration
        )
        sessions = SessionRegistry(eventLoop: eventLoop)
        sessionContext = SessionContext(
            webhooks: webhooks,
            channels: channels,
            registry: sessions,
            metrics: metrics,
            log: log,
            state: state,
            configuration: configuration,
            admission: admission.sessions
        )
    }

    private var allPools: [AppPool] { app.all + (keySetPool.map { [$0] } ?? []) }

    /// Asks the addresses for their health; on one loop only.
    func watchHealth() {
        guard let path = configuration.settings.appHealthPath else { return }
        healthChecks = app.webhook.indices.map {
            HealthCheck(address: $0, path: path, pool: app.webhook[$0], shard: self)
        }
        for check in healthChecks { check.start() }
    }

    /// Fetches the issuer's keys; on one loop only.
    func fetchKeySet() {
        guard let url = configuration.settings.jwtKeySetURL, let origin = url.origin,
            let authenticator = state.authenticator
        else { return }
        let pool = AppPool(
            origin: origin,
            eventLoop: eventLoop,
            timers: timers,
            flushes: flushes,
            configuration: configuration,
            state: state,
            isApp: false
        )
        keySetPool = pool
        keySetFetcher = KeySetFetcher(path: url.path, pool: pool, authenticator: authenticator, shard: self)
        keySetFetcher?.start()
    }

    /// Tells the app which channels have subscribers; on one loop only.
    func reportOccupancy() {
        guard let occupancy = state.channels.occupancy else { return }
        occupancyReporter = OccupancyReporter(occupancy, shard: self)
        occupancyReporter?.start()
    }

    /// Reads what a client of a WebSocket sends, under the settings of now.
    func messageReader(_ deflate: NegotiatedDeflate?) -> MessageReader {
        let settings = configuration.settings
        let limits = MessageLimits(
            maxMessageBytes: settings.maxMessageBytes,
            maxFragments: settings.maxFragments,
            maxCompressionRatio: settings.maxCompressionRatio
        )
        guard let deflate else { return MessageReader(limits: limits) }
        return MessageReader(limits: limits, deflate: deflate, codecs: codecs)
    }

    // MARK: What lives here

    /// True when no WebSocket is left, nor an event of one.
    var isWithoutSessions: Bool { sessions.isEmpty && webSockets == 0 }
    /// True when no session and no request is left.
    var isQuiet: Bool { isWithoutSessions && httpHandlers.values.allSatisfy { !$0.isBusy } }

    /// A connection became a WebSocket; it counts until its last byte is out and it has closed.
    func webSocketBegan() { webSockets += 1 }
    func webSocketEnded() { webSockets -= 1 }

    /// Keeps the handler of a client that has gone, until what it sent has been taken.
    func keep(_ handler: WebSocketHandler) { departing[ObjectIdentifier(handler)] = handler }
    func release(_ handler: WebSocketHandler) { departing[ObjectIdentifier(handler)] = nil }

    func insert(_ handler: EdgeHTTPHandler) {
        httpHandlers[ObjectIdentifier(handler)] = handler
    }

    func remove(_ handler: EdgeHTTPHandler) {
        httpHandlers[ObjectIdentifier(handler)] = nil
    }

    // MARK: The end

    /// Ends the connections that speak HTTP once their request is answered.
    func drainRequests() {
        for handler in Array(httpHandlers.values) { handler.drain() }
    }

    /// From now on other settings hold; what the connections that are open agreed on stays.
    func reload(_ configuration: ServerConfiguration, _ admission: AdmissionGuard) {
        let old = self.configuration
        self.configuration = configuration
        self.admission = admission
        sendBuffers.limits = SendLimits(configuration.settings)
        webhooks.configuration = configuration
        for pool in allPools { pool.configuration = configuration }
        keySetFetcher?.settingsChanged()
        let isOfTransport = old.heartbeat.transportTimeout != configuration.heartbeat.transportTimeout
        sessionContext.reload(configuration, admission.sessions)
        for session in sessions.all { session.settingsChanged(isOfTransport: isOfTransport) }
    }

    /// Ends what is left, without waiting.
    ///
    /// - Returns: The sessions whose close event was not delivered.
    func endNow() -> Int {
        let left = sessions.abandonAll()
        for handler in Array(httpHandlers.values) { handler.drainIsOver() }
        for pool in allPools { pool.close() }
        return left
    }
}
