import DeliveryOutbox
import NIOCore
import SidecarCore

/// What an event loop hands to its sessions.
final class SessionContext {
    let eventLoop: any EventLoop
    let timers: ShardTimers
    let webhooks: WebhookContext
    let channels: LoopSubscriptions
    let registry: SessionRegistry
    /// Where sessions wait while the budget over the process is spent.
    let budgetQueue: PendingBudgetQueue
    /// Sessions without a client.
    let absent: AbsentSessions
    /// Where it counts what is kept for clients that may return.
    let sendBuffers: SendBuffers
    let metrics: ServerMetrics
    let log: LoopLog
    /// Bytes that the app has not answered, over the process.
    let pendingBytes: SharedBudget
    /// What is owed to the app, on disk; nil without `OUTBOX_DIR`.
    let outbox: DeliveryOutbox?
    /// How the other nodes know the sessions; nil without a cluster.
    let registrations: LoopRegistrations?
    /// Verifies tokens; nil when `AUTH` is off.
    let authenticator: Authenticator?
    /// Counts open sessions, and says whether the process drains.
    let state: ServerState
    private(set) var configuration: ServerConfiguration
    private(set) var admission: SessionAdmission

    init(
        webhooks: WebhookContext,
        channels: LoopSubscriptions,
        registry: SessionRegistry,
        sendBuffers: SendBuffers,
        metrics: ServerMetrics,
        log: LoopLog,
        state: ServerState,
        configuration: ServerConfiguration,
        admission: SessionAdmission
    ) {
        eventLoop = webhooks.eventLoop
        timers = webhooks.timers
        self.webhooks = webhooks
        self.channels = channels
        self.registry = registry
        self.sendBuffers = sendBuffers
        boundRegistry = NIOLoopBound(registry, eventLoop: webhooks.eventLoop)
        absent = AbsentSessions(of: registry, state, metrics)
        self.metrics = metrics
        self.log = log
        pendingBytes = state.pendingBytes
        budgetQueue = PendingBudgetQueue(budget: state.pendingBytes, eventLoop: webhooks.eventLoop)
        outbox = state.outbox
        registrations = state.engine.map {
            LoopRegistrations($0.directory, of: registry, on: webhooks.eventLoop)
        }
        authenticator = state.authenticator
        self.state = state
        self.configuration = configuration
        self.admission = admission
    }

    var settings: Settings { configuration.settings }

    private let boundRegistry: NIOLoopBound<SessionRegistry>

    /// Where a session of this loop is found.
    func place(of id: String) -> ResumeDirectory.Place { .init(id: id, registry: boundRegistry) }

    /// Ends a session of a user that waits for its client, here or on another node: the user has too many connections.
    ///
    /// - Parameter completion: Called on the event loop, with whether there was one.
    func makeRoom(for user: UserName, _ completion: @escaping (Bool) -> Void) {
        guard !admission.slots.isUserLimitDry, let moves = state.moves else { return completion(false) }
        if state.absentUsers.endOldest(of: user) { return completion(true) }
        moves.endAbsent(of: user, on: eventLoop, completion)
    }

    /// What channels may offer to clients of the protocol beyond messages.
    var features: [String] {
        (rules.allowsClientEvents ? ["client-events"] : []) + (rules.showsMembers ? ["presence"] : [])
    }
    private lazy var rules = ChannelRules(configuration.settings)

    /// From now on other settings hold.
    func reload(_ configuration: ServerConfiguration, _ admission: SessionAdmission) {
        self.configuration = configuration
        self.admission = admission
    }
}
