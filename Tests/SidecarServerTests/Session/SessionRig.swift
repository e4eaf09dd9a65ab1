import HTTP1
import Logging
import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// What sessions need of their loop, with an app, a gate and users that are not there.
final class SessionRig {
    let loop = EmbeddedEventLoop()
    let app = FakeApp()
    let gate: FakeGate
    let users = CountedUsers()
    let bans = BanList()
    let log = RecordedLog()
    let state: ServerState
    let context: SessionContext
    private let admission: AdmissionGuard
    private let address: ResolvedClient
    private var bucket: SharedBucket?
    private var clients = 0

    /// - Parameter environment: Settings, without their prefix.
    init(
        _ environment: [String: String] = [:],
        authenticator: Authenticator? = nil,
        engine: (any ClusterEngine)? = nil
    ) throws {
        // Sessions read the clock of the machine, so the time of the loop begins there.
        loop.advanceTime(to: .now())
        let configuration = try TestSettings.configuration(environment)
        let settings = configuration.settings
        let metrics = ServerMetrics()
        gate = FakeGate()
        state = ServerState(
            settings: settings,
            maxConnections: 100,
            maxDescriptors: 100,
            logger: log.logger,
            outbox: nil,
            authenticator: authenticator,
            engine: engine,
            makeBroker: { MemoryChannelBroker(settings: settings, events: $0) }
        )
        admission = AdmissionGuard(
            settings: settings,
            metrics: metrics,
            logger: log.logger,
            authenticator: authenticator,
            bans: bans,
            users: users,
            onAutoBan: { _, _ in }
        )
        address = try Samples.client("192.0.2.1")
        let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        context = SessionContext(
            webhooks: WebhookContext(
                eventLoop: loop,
                timers: ShardTimers(eventLoop: loop),
                gate: gate,
                app: app,
                logger: quiet,
                configuration: configuration
            ),
            channels: LoopSubscriptions(
                fanout: state.channels,
                flushes: FlushQueue(eventLoop: loop),
                eventLoop: loop
            ),
            registry: SessionRegistry(eventLoop: loop),
            sendBuffers: SendBuffers(
                budget: state.sendBuffers,
                loops: state.sendBufferLoops,
                limits: SendLimits(configuration.settings),
                metrics: metrics,
                eventLoop: loop
            ),
            metrics: metrics,
            log: LoopLog(log.logger),
            state: state,
            configuration: configuration,
            admission: admission.sessions
        )
    }

    /// Time passes, of the loop and by the clock of the machine.
    func passes(_ time: TimeAmount) { loop.advanceTime(to: max(loop.now, .now()) + time) }

    /// The close events that the app has heard of.
    var closes: [String] { app.heard.filter { $0.hasPrefix("close ") } }

    /// Other settings hold from now on.
    func reload(_ environment: [String: String]) throws {
        let configuration = try TestSettings.configuration(environment)
        context.webhooks.configuration = configuration
        context.reload(configuration, AdmissionGuard(configuration.settings, after: admission).sessions)
        for session in context.registry.all { session.settingsChanged(isOfTransport: false) }
    }

    // MARK: Clients

    /// A client whose handshake nobody has asked about.
    func makeClient(_ transportKind: TransportKind = .webSocket, lastEventID: String? = nil) throws -> SessionClient {
        let slot = try #require(context.admission.slots.open(for: address))
        bucket = slot.address
        clients += 1
        return SessionClient(
            BridgeSession(
                id: "c\(clients)",
                handshake: try Samples.head("GET /ws?room=1 HTTP/1.1", "Host: a"),
                client: ClientIdentity(address: "192.0.2.1", scheme: "http"),
                slot: slot,
                transportKind: transportKind,
                lastEventID: lastEventID,
                context: context
            )
        )
    }

    /// A client whose handshake is asked about.
    func connect() throws -> SessionClient {
        let client = try makeClient()
        client.session.start(responder: client.responder)
        return client
    }

    /// A client that the app has accepted with these fields.
    func open(_ fields: String = "") throws -> SessionClient {
        let client = try connect()
        try app.answer(204, fields)
        return client
    }

    // MARK: The end

    /// Plays with a client, and checks that then nothing of it is left: no slot, no byte, no permit, no object.
    ///
    /// - Parameter make: Makes the client.
    func untilGone(
        _ make: (SessionRig) throws -> SessionClient = { try $0.open() },
        _ play: (SessionClient) throws -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        var traces = Traces()
        do {
            let client = try make(self)
            client.follow(in: &traces)
            try play(client)
        }
        expectNothingLeft(sourceLocation: sourceLocation)
        let alive = traces.alive + app.traces.alive
        #expect(alive == [], sourceLocation: sourceLocation)
    }

    /// Checks that no session is left, and nothing that one has taken.
    func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) {
        loop.run()
        #expect(app.asked == nil, sourceLocation: sourceLocation)
        #expect(gate.isQuiet, sourceLocation: sourceLocation)
        #expect(context.registry.isEmpty, sourceLocation: sourceLocation)
        #expect(state.pendingBytes.held == 0, sourceLocation: sourceLocation)
        #expect(state.sessions == 0, sourceLocation: sourceLocation)
        #expect(state.subscriptions == 0, sourceLocation: sourceLocation)
        #expect(users.all == [:], sourceLocation: sourceLocation)
        let connections = bucket?.connections ?? 0
        #expect(connections == 0, sourceLocation: sourceLocation)
    }
}

/// A session with both sides of its client.
final class SessionClient {
    let session: BridgeSession
    let transport: FakeTransport
    let responder: FakeResponder

    init(_ session: BridgeSession) {
        self.session = session
        transport = session.transportKind == .eventStream ? FakeReplayTransport(session) : FakeTransport(session)
        responder = FakeResponder(session, transport)
    }

    func follow(in traces: inout Traces) {
        traces.follow(session)
        traces.follow(transport)
        traces.follow(responder)
    }

    func send(_ text: String) { session.received(.text, ByteBuffer(string: text), at: .now()) }

    /// Sends a Close frame.
    func leaves() { session.transportEnded(code: .goingAway, reason: "", initiator: .client) }

    /// Its connection ends, with or without what went before.
    func breaks() {
        session.clientLeft()
        session.transportEnded(code: .abnormal, reason: "", initiator: .network)
    }
}
