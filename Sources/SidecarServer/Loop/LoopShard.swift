import Logging
import NIOCore
import SidecarCore

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
    /// What the handlers of clients are given.
    let clients: ClientContext
    let timers: ShardTimers
    let flushes: FlushQueue
    let channels: LoopSubscriptions
    let app: AppPools
    let webhooks: WebhookContext

    private var healthChecks: [HealthCheck] = []
    private var keySetFetcher: KeySetFetcher?
    private var keySetPool: AppPool?
    private var occupancyReporter: OccupancyReporter?

    init(
        eventLoop: any EventLoop,
        configuration: ServerConfiguration,
        state: ServerState,
        metrics: ServerMetrics,
        admission: AdmissionGuard,
        logger: Logger
    ) {
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
        let sendBuffers = SendBuffers(
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
        webhooks = WebhookContext(
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
            sendBuffers: sendBuffers,
            metrics: metrics,
            log: log,
            state: state,
            configuration: configuration,
            admission: admission.sessions
        )
        clients = ClientContext(
            sessions: sessionContext,
            app: app,
            flushes: flushes,
            sendBuffers: sendBuffers,
            admission: admission
        )
    }

    private var allPools: [AppPool] { app.all + (keySetPool.map { [$0] } ?? []) }

    /// Asks the addresses for their health; on one loop only.
    func watchHealth() {
        guard let path = configuration.settings.appHealthPath else { return }
        healthChecks = app.webhook.indices.map {
            HealthCheck(address: $0, path: path, pool: app.webhook[$0], webhooks: webhooks)
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
        keySetFetcher = KeySetFetcher(
            path: url.path,
            pool: pool,
            authenticator: authenticator,
            timers: timers,
            log: log
        )
        keySetFetcher?.start()
    }

    /// Tells the app which channels have subscribers; on one loop only.
    func reportOccupancy() {
        guard let occupancy = state.channels.occupancy else { return }
        occupancyReporter = OccupancyReporter(occupancy, context: sessionContext)
        occupancyReporter?.start()
    }

    // MARK: What lives here

    /// How the other nodes know the sessions; nil without a cluster.
    var registrations: LoopRegistrations? { sessionContext.registrations }

    /// Whether a session of another node may wait here for its client.
    var takesAbsent: Bool { !state.isDraining && state.detachedSessions.held < state.detachedSessions.limit }

    /// True when no WebSocket is left, nor an event of one.
    var isWithoutSessions: Bool { sessions.isEmpty && !clients.registry.hasStreams }
    /// True when no session and no request is left.
    var isQuiet: Bool { isWithoutSessions && !clients.registry.hasRequests }

    /// From now on other settings hold; what the connections that are open agreed on stays.
    func reload(_ configuration: ServerConfiguration, _ admission: AdmissionGuard) {
        let old = self.configuration
        self.configuration = configuration
        webhooks.configuration = configuration
        for pool in allPools { pool.configuration = configuration }
        keySetFetcher?.settingsChanged()
        let isOfTransport = old.heartbeat.transportTimeout != configuration.heartbeat.transportTimeout
        clients.reload(configuration, admission)
        sessionContext.reload(configuration, admission.sessions)
        for session in sessions.all { session.settingsChanged(isOfTransport: isOfTransport) }
    }

    // MARK: The end

    /// Ends what is left, without waiting.
    ///
    /// - Returns: What becomes of the close events that were not delivered.
    func endNow() -> [CloseEventFate] {
        let fates = sessions.abandonAll()
        clients.registry.endRequests()
        for pool in allPools { pool.close() }
        return fates
    }
}
