import DeliveryOutbox
import ListenerSupport
public import Logging
import NIOCore
import NIOPosix
import NIOSSL
public import ServiceLifecycle
public import SidecarCore
import Synchronization

/// The public port: accepts clients, and drains their connections on shutdown.
public final class EdgeService: Service {
    let logger: Logger
    let metrics: ServerMetrics
    let live: Mutex<LiveSettings>
    let audit: @Sendable (AuditRecord) -> Void
    private let maxConnections: Int
    private let nodeName: String
    private let version: String
    private let startedAt = WallClock.unixMilliseconds()
    private let autoBans: AsyncStream<AutoBanned>

    /// The numbers for health checks and metrics.
    public let state: ServerState

    /// This node as the others see it; nil without a cluster.
    let member: ClusterMember?

    /// The settings in force, which a reload changes.
    public var settings: Settings { live.withLock { $0.configuration.settings } }

    /// Makes the service; nothing listens yet.
    ///
    /// - Parameters:
    ///   - settings: The checked settings.
    ///   - nodeName: This process's name in `ce-source`.
    ///   - version: The version of Sidesocket.
    ///   - maxConnections: The most open client connections.
    ///   - maxDescriptors: File descriptors for clients and for connections to the app, in total.
    ///   - authenticator: Verifies tokens; nil when `AUTH` is off.
    ///   - engine: What connects this node with others; nil for none.
    ///   - audit: Called for each change that no operator made.
    ///   - logger: Where log lines go.
    /// - Throws: A ``FileFault`` when a file cannot be used, an `OutboxError` for `OUTBOX_DIR`.
    public init(
        settings: Settings,
        nodeName: String,
        version: String = "",
        maxConnections: Int,
        maxDescriptors: Int,
        authenticator: Authenticator? = nil,
        engine: (any ClusterEngine)? = nil,
        audit: @escaping @Sendable (AuditRecord) -> Void = { _ in },
        logger: Logger
    ) throws {
        let configuration = try ServerConfiguration(
            settings: settings,
            nodeName: nodeName,
            maxConnections: maxConnections
        )
        self.maxConnections = maxConnections
        self.nodeName = nodeName
        self.version = version
        state = ServerState(
            settings: settings,
            maxConnections: maxConnections,
            maxDescriptors: maxDescriptors,
            logger: logger,
            outbox: try settings.outboxDirectory.map { directory in
                try DeliveryOutbox(directory: directory) { fault in
                    logger.error("outbox failure", metadata: ["directory": "\(directory)", "fault": "\(fault)"])
                }
            },
            authenticator: authenticator,
            engine: engine
        )
        self.logger = logger
        self.audit = audit
        metrics = ServerMetrics()
        let (autoBans, autoBanned) = AsyncStream.makeStream(
            of: AutoBanned.self,
            bufferingPolicy: .bufferingOldest(10_000)
        )
        self.autoBans = autoBans
        let bans = engine.map { ClusterBanStore($0.bans) }
        member = bans.map { ClusterMember(bans: $0) }
        live = Mutex(
            LiveSettings(
                configuration: configuration,
                admission: AdmissionGuard(
                    settings: settings,
                    metrics: metrics,
                    logger: logger,
                    authenticator: authenticator,
                    bans: bans ?? BanList(),
                    onAutoBan: {
                        guard case .enqueued = autoBanned.yield(AutoBanned(subject: $0, duration: $1)) else {
                            logger.error("a ban could not be recorded", metadata: ["address": "\($0.value)"])
                            return
                        }
                    }
                )
            )
        )
    }

    /// Listens until the process is asked to shut down, then drains within `DRAIN_TIMEOUT`.
    ///
    /// - Throws: An error of the system when an address cannot be bound.
    public func run() async throws {
        let settings = live.withLock { $0.configuration.settings }
        let threads = settings.threads ?? System.coreCount
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let shards = try await makeShards(on: group)
        live.withLock { $0.shards = shards }
        if let member {
            member.begin(with: self)
            state.engine?.start(member)
        }
        let listeners = try await bind(settings, on: group, shards: shards)
        for listener in listeners {
            logger.notice("listening", metadata: ["address": "\(listener.localAddress?.written ?? "?")"])
        }
        await shards.forFirst {
            $0.watchHealth()
            $0.fetchKeySet()
            $0.state.historyExpiry?.start(on: $0.eventLoop)
            $0.state.channels.members?.start(on: $0.eventLoop)
            $0.reportOccupancy()
        }
        let banning = Task { await closeBanned() }
        defer { banning.cancel() }
        await resume(state.outbox?.recover() ?? [], on: shards)
        state.beginListening()
        try? await gracefulShutdown()
        await drain(shards, listeners)
        await state.engine?.stop()
        try await group.shutdownGracefully()
        member?.end()
        withExtendedLifetime(shards) {}  // channels that close last still report to them
    }

    /// Publishes what came from a stream (`INGEST_URL`); ends when it is stored.
    public func publish(
        _ publication: Publication,
        excluding id: String?,
        idempotencyKey: String
    ) async -> Result<Void, ChannelFailure> {
        let (result, _) = await state.channels.publish(
            publication,
            excluding: id,
            waitsForKernel: false,
            idempotencyKey: idempotencyKey,
            from: .ingest
        )
        return result.map { _ in }
    }

    /// What is known of this node.
    var info: NodeInfo {
        NodeInfo(
            name: nodeName,
            version: version,
            startedAt: startedAt,
            connections: state.sessions,
            channels: state.channelCount,
            leaseMilliseconds: settings.clusterLease.nanoseconds / 1_000_000,
            policies: settings.channelDigest
        )
    }

    /// The event loops, once they run.
    var shards: ShardDirectory? { live.withLock { $0.shards } }

    /// A user is connected to so many nodes.
    func userIsOn(_ nodes: Int, _ user: UserName) {
        live.withLock { $0.admission.sessions.slots }.share(user, among: nodes)
    }

    /// Returns when every event loop has completed a turn.
    public func passThroughLoops() async {
        await live.withLock { $0.shards }?.forEach { _ in }
    }

    // MARK: Reload

    /// Applies those of the new settings that can change while sockets are open.
    ///
    /// - Returns: The variables that have changed, and those that need a restart and were not applied.
    /// - Throws: A ``FileFault`` when a file cannot be used; nothing has changed then.
    public func reload(_ new: Settings) async throws -> Settings.Reload {
        let (old, oldAdmission, shards) = live.withLock { ($0.configuration.settings, $0.admission, $0.shards) }
        let reload = old.reloading(new)
        // Made anew even if no variable has changed, since the contents of the files may have.
        let configuration = try ServerConfiguration(
            settings: reload.settings,
            nodeName: nodeName,
            maxConnections: maxConnections
        )
        let admission = AdmissionGuard(reload.settings, after: oldAdmission)
        live.withLock {
            $0.configuration = configuration
            $0.admission = admission
        }
        await shards?.forEach { $0.reload(configuration, admission) }
        return reload
    }

    // MARK: Start

    private func makeShards(on group: MultiThreadedEventLoopGroup) async throws -> ShardDirectory {
        var shards: [NIOLoopBound<LoopShard>] = []
        let (configuration, admission) = live.withLock { ($0.configuration, $0.admission) }
        for eventLoop in group.makeIterator() {
            shards.append(
                try await eventLoop.submit { [state, metrics, logger] in
                    NIOLoopBound(
                        LoopShard(
                            eventLoop: eventLoop,
                            configuration: configuration,
                            state: state,
                            metrics: metrics,
                            admission: admission,
                            logger: logger
                        ),
                        eventLoop: eventLoop
                    )
                }.get()
            )
        }
        return ShardDirectory(shards)
    }

    /// Resumes the sessions for which an earlier process still owed events to the app.
    private func resume(_ rows: [RecoveredConnection], on shards: ShardDirectory) async {
        let (connections, fault) = RecoveredSession.read(rows)
        if let fault {
            let directory = live.withLock { $0.configuration.settings.outboxDirectory } ?? ""
            logger.error("outbox failure", metadata: ["directory": "\(directory)", "fault": "\(fault)"])
        }
        guard !connections.isEmpty else { return }
        logger.notice(
            "delivering events left by an earlier process",
            metadata: [
                "connections": .stringConvertible(connections.count),
                "messages": .stringConvertible(connections.reduce(0) { $0 + $1.row.messages.count }),
            ]
        )
        // Other nodes may have taken the process for lost, and tell the app of the end of its connections.
        let claimed = await state.engine?.directory.claimed(among: connections.map(\.row.id)) ?? []
        await shards.spread(connections) { shard, connection in
            let session = BridgeSession(recovered: connection, context: shard.sessionContext)
            if claimed.contains(session.id) {
                session.registration = SessionRegistration([])
                session.registration?.isClaimed = true
            }
            session.resume(connection)
        }
    }

    /// An address has made too many calls of the control API that failed.
    public func apiRefusalLimited() { metrics.limited(.apiRefusals, action: .refused) }

    /// Closes the sockets of automatically banned clients, and records the bans.
    private func closeBanned() async {
        for await ban in autoBans {
            await EdgeOperator(edge: self).closeConnections(coveredBy: ban.subject)
            logger.warning("client banned", metadata: ["address": "\(ban.subject.value)"])
            audit(
                AuditRecord(
                    action: .addAutomaticBan,
                    who: "auto",
                    target: "ip \(ban.subject.value)",
                    outcome: .ok,
                    detail: "for \(ban.duration.nanoseconds / 1_000_000_000)s: too many violations"
                )
            )
        }
    }

}

/// A ban that Sidesocket made by itself.
struct AutoBanned: Sendable {
    let subject: BanSubject
    let duration: TimeAmount
}

/// What a reload replaces.
struct LiveSettings: Sendable {
    var configuration: ServerConfiguration
    var admission: AdmissionGuard
    var shards: ShardDirectory?
}
