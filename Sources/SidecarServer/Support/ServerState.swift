import DeliveryOutbox
import Logging
import NIOCore
public import SidecarCore
import Synchronization

/// What all event loops share.
public final class ServerState: Sendable {
    /// Bytes received and not yet answered by the app, over the process.
    public let pendingBytes: SharedBudget
    private let sessionCounts = TransportCounts()
    private let socketCount = Atomic<Int>(0)
    private let listeningFlag = Atomic<Bool>(false)
    private let drainingFlag = Atomic<Bool>(false)
    private let reachability = Atomic<UInt8>(0)
    /// Bytes of incomplete messages. A separate budget of the same size: an incomplete message returns no bytes until
    /// its sender continues, so it must not hold up complete ones.
    let assemblyBytes: SharedBudget
    /// Bytes of requests that are read completely before the app sees them, a quarter of that budget: a client that
    /// stalls with such a request holds up only others like it, and no WebSocket.
    let inspectionBytes: SharedBudget
    /// Bytes queued towards clients that the kernel has not taken.
    public let sendBuffers: SendBudget
    let sendBufferLoops = SendBuffers.Loops()
    /// Sessions that wait for their clients; the limit is that of `MAX_DETACHED`.
    let detachedSessions: SharedBudget
    /// Bytes kept for clients that may return; they count in ``sendBuffers`` too.
    let sessionBufferBytes = SharedBudget(limit: .max)
    /// The sessions without a client, by user.
    let absentUsers = AbsentUsers()
    /// Where the sessions are that can be resumed.
    let resumes = ResumeDirectory()
    /// What clients of polls have yet to learn of the end of their sessions, by their tokens.
    let farewells = ShortMemory<ResumeToken.Hash, PostAnswer>(capacity: 10_000, for: .seconds(60))
    /// The sessions that clients have begun with a POST, whose answer may have been lost.
    let openings = ShortMemory<OpeningKey, ResumeDirectory.Place>(capacity: 100_000, for: .seconds(60))
    /// File descriptors of clients and of connections to the app.
    let descriptors: SharedBudget
    let gate: WebhookGate
    /// Undelivered events, on disk; nil without `OUTBOX_DIR`.
    let outbox: DeliveryOutbox?
    /// Publications on their way to subscribers.
    let channels: ChannelFanout
    /// What connects this node with others; nil without `CLUSTER_URL`.
    let engine: (any ClusterEngine)?
    /// Moves sessions to other nodes; nil without `CLUSTER_URL`.
    let moves: SessionMoves?
    /// Passes POSTs on to other nodes; nil without `CLUSTER_URL`.
    let relays: PostRelays?
    /// Housekeeping of the broker in memory; nil with another one.
    let historyExpiry: HistoryExpiry?
    /// Verifies tokens; nil when `AUTH` is off.
    let authenticator: Authenticator?

    /// The most open client connections.
    public let maxConnections: Int
    /// The most calls to the app.
    public let maxInFlight: Int

    /// - Parameters:
    ///   - engine: What connects this node with others; nil for none.
    ///   - makeBroker: Makes the broker; nil for the engine's, or the one in memory.
    init(
        settings: Settings,
        maxConnections: Int,
        maxDescriptors: Int,
        logger: Logger,
        outbox: DeliveryOutbox?,
        authenticator: Authenticator?,
        engine: (any ClusterEngine)? = nil,
        makeBroker: ChannelFanout.MakeBroker? = nil
    ) {
        self.authenticator = authenticator
        self.engine = engine
        moves = engine.map { [resumes, absentUsers] in SessionMoves($0, resumes, absentUsers) }
        relays = engine.map { [resumes, farewells] in PostRelays($0, resumes, farewells) }
        var historyExpiry: HistoryExpiry?
        channels = ChannelFanout(
            settings: settings,
            engine: engine,
            makeBroker: makeBroker ?? engine?.makeBroker ?? { events in
                let broker = MemoryChannelBroker(settings: settings, events: events)
                historyExpiry = HistoryExpiry(of: broker)
                return broker
            }
        )
        self.historyExpiry = historyExpiry
        self.outbox = outbox
        pendingBytes = SharedBudget(limit: settings.maxTotalPendingBytes)
        assemblyBytes = SharedBudget(limit: settings.maxTotalPendingBytes)
        inspectionBytes = SharedBudget(limit: max(settings.maxTotalPendingBytes / 4, StructuredEvents.maxBytes))
        detachedSessions = SharedBudget(limit: settings.maxDetached ?? maxConnections)
        sendBuffers = SendBudget(limit: settings.maxTotalSendBufferBytes)
        descriptors = SharedBudget(limit: maxDescriptors)
        gate = WebhookGate(
            addresses: settings.webhookOrigins.map(\.description),
            capacity: settings.webhookMaxInFlight,
            logger: logger
        )
        maxInFlight = settings.webhookMaxInFlight
        self.maxConnections = maxConnections
    }

    /// Accepted sessions that have a client.
    public var sessions: Int { TransportKind.allCases.reduce(0) { $0 + sessions(on: $1) } }
    /// Those that are on one kind of transport.
    public func sessions(on transportKind: TransportKind) -> Int { sessionCounts[transportKind] }
    /// Sessions that wait for their clients.
    public var detached: Int { detachedSessions.held }
    /// Bytes kept for clients that may return.
    public var bytesForReturn: Int { sessionBufferBytes.held }
    /// Open client connections of every kind.
    public var sockets: Int { socketCount.load(ordering: .relaxed) }
    /// True once the public addresses are bound.
    public var isListening: Bool { listeningFlag.load(ordering: .relaxed) }
    /// True from the beginning of the drain.
    public var isDraining: Bool { drainingFlag.load(ordering: .relaxed) }
    /// Calls to the app in flight.
    public var inFlight: Int { gate.inUse }
    /// Channels with a subscriber or a history.
    public var channelCount: Int { channels.broker.statistics.channels }
    /// The number of subscriptions of all connections.
    public var subscriptions: Int { channels.subscriptions }
    /// What histories hold, in bytes.
    public var historyBytes: Int { channels.broker.statistics.historyBytes }
    /// The engine between the nodes; nil without `CLUSTER_URL`.
    public var cluster: ClusterStatus? { engine?.status }
    /// Events that wait for their turn.
    public var queueDepth: Int { gate.queueDepth }
    /// The addresses that events go to, with their breakers.
    public var appAddresses: [AppAddressStatus] { gate.addresses }
    /// Whether the last attempt reached the app; nil before the first.
    public var appReachable: Bool? {
        switch reachability.load(ordering: .relaxed) {
        case 1: true
        case 2: false
        default: nil
        }
    }

    /// Whether `OUTBOX_DIR` can be written to; nil without it.
    public var outboxIsWritable: Bool? { outbox.map { !$0.isFailing } }
    /// Bytes of messages that are not on disk yet.
    public var outboxBytesBuffered: Int { outbox?.bytesBuffered ?? 0 }

    /// False when the remaining descriptors are needed for connections to the app.
    var hasRoomForClients: Bool { descriptors.held < descriptors.limit - min(500, descriptors.limit / 8) }

    func sessionOpened(_ transportKind: TransportKind) {
        sessionCounts.adjust(transportKind, by: 1)
    }

    func sessionClosed(_ transportKind: TransportKind) {
        sessionCounts.adjust(transportKind, by: -1)
    }

    /// Counts a client connection, and returns how many are open with it. Its descriptor was counted at the accept.
    func socketOpened() -> Int {
        socketCount.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// A client's socket has closed.
    ///
    /// - Parameter hasLeft: It is no longer counted among the connections.
    func socketClosed(hasLeft: Bool) {
        descriptors.adjust(by: -1)
        if !hasLeft { socketLeft() }
    }

    /// A connection that only waits for its client to close no longer counts against the limit.
    func socketLeft() { socketCount.wrappingSubtract(1, ordering: .relaxed) }
    func beginListening() { listeningFlag.store(true, ordering: .relaxed) }
    func beginDrain() { drainingFlag.store(true, ordering: .relaxed) }

    func noteApp(reachable: Bool) {
        let value: UInt8 = reachable ? 1 : 2
        if reachability.load(ordering: .relaxed) != value { reachability.store(value, ordering: .relaxed) }
    }
}

/// How many sessions there are on each kind of transport.
private struct TransportCounts: ~Copyable {
    private let webSockets = Atomic<Int>(0)
    private let eventStreams = Atomic<Int>(0)
    private let polls = Atomic<Int>(0)
    private let streams = Atomic<Int>(0)

    subscript(kind: TransportKind) -> Int {
        switch kind {
        case .webSocket: webSockets.load(ordering: .relaxed)
        case .eventStream: eventStreams.load(ordering: .relaxed)
        case .poll: polls.load(ordering: .relaxed)
        case .stream: streams.load(ordering: .relaxed)
        }
    }

    func adjust(_ kind: TransportKind, by change: Int) {
        switch kind {
        case .webSocket: webSockets.wrappingAdd(change, ordering: .relaxed)
        case .eventStream: eventStreams.wrappingAdd(change, ordering: .relaxed)
        case .poll: polls.wrappingAdd(change, ordering: .relaxed)
        case .stream: streams.wrappingAdd(change, ordering: .relaxed)
        }
    }
}
