import CoreMetrics
import DeliveryOutbox
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// One client's conversation with the app: turns messages into events, and replies into messages.
///
/// It connects its parts: ``SessionStateMachine`` keeps the order of events, ``WebhookDelivery`` delivers an event to
/// the app, ``MessageAllowance`` counts what its client may send, ``SessionBackPressure`` knows what keeps it from taking
/// more, ``SessionJournal`` records what is owed, and a ``SessionTransport`` carries messages to the client while there is
/// one.
final class BridgeSession: TimerOwner {
    /// That of the session that it goes on with, once it is resumed.
    var id: String
    let context: SessionContext
    /// The start of each of its requests.
    var prepared: PreparedConnection
    let clientAddress: String
    let transportKind: TransportKind
    /// What carries messages to the client. Nil while the session is detached: before the connection has become one, for
    /// events of an earlier process, and after its end, since the transport holds the session, too.
    var transport: (any SessionTransport)?
    /// What it does beyond that for a client of the protocol; nil for other clients.
    var conversation: ProtocolConversation?
    /// What the client needs to do before it gets the session that it wants to resume; nil for others.
    var resumeAttempt: ResumeAttempt?
    /// The session on another event loop that goes on with this one.
    var successor: NIOLoopBound<BridgeSession>?
    /// Is told what the app decides about the handshake; nil after that.
    var responder: (any HandshakeResponder)?
    /// Keeps the order of events, and the messages that wait.
    var machine: SessionStateMachine

    /// What only the handshake needs, until the app has accepted.
    var handshake: SessionHandshake?

    /// The event in flight.
    var delivery: ConnectionEventDelivery?
    /// How the other nodes know it; nil without a cluster.
    var registration: SessionRegistration?
    /// When it was opened, in Unix milliseconds, once somebody has asked: it must not change with the rounding of clocks.
    var openedAt: Int64?
    /// When the close event of an earlier process's session happened.
    var recoveredCloseTime: Int64?

    var identity: SessionIdentity
    var user: UserName? {
        get { identity.user }
        set {
            let old = identity.user
            identity.user = newValue
            context.channels.renamed(self, from: old)
        }
    }

    /// How many messages it has published, for the log.
    var publications = 0

    /// What its client may send.
    var allowance: MessageAllowance
    /// Its slots among the connections of its address and of its user.
    var slots: SessionSlots
    /// What keeps it from taking more.
    var backPressure = SessionBackPressure()

    /// The channels that it is in.
    var channels = ChannelMemberships()
    /// The stream that it continues; nil for a new one.
    var continued: ContinuedStream?

    /// True from the app's acceptance to the end.
    var isOpen = false
    /// True while it counts as a connection.
    var isCounted = false
    var isDraining = false
    /// The app was asked about an event before the session came to this event loop.
    var hasEventUnderWay = false

    /// A session whose handshake the app has not seen yet.
    init(
        id: String,
        handshake: HTTPRequestHead,
        client: ClientIdentity,
        slot: ConnectionSlots.Slot,
        transportKind: TransportKind,
        lastEventID: String? = nil,
        context: SessionContext
    ) {
        self.transportKind = transportKind
        continued = lastEventID.map(ContinuedStream.init)
        self.id = id
        self.context = context
        allowance = context.admission.allowances.allowance(for: slot)
        slots = SessionSlots(slot)
        identity = SessionIdentity()
        self.machine = SessionStateMachine(maxBatch: context.settings.webhookBatch ?? 1)
        self.clientAddress = client.address
        let dialect = context.configuration.dialect
        let connection = dialect.connection(for: handshake, id: id, client: client, transportKind: transportKind)
        prepared = dialect.prepare(connection)
        let record = context.outbox == nil && context.registrations == nil ? [] : connection.record
        self.handshake = SessionHandshake(request: handshake, client: client, record: record)
        if context.registrations != nil { registration = SessionRegistration(record) }
    }

    /// The session of a client of a lost node, of whose end the app has to be told.
    ///
    /// - Parameter whenTold: Called when the app has answered, or with true when that has to be tried again later.
    init(lost: LostConnection, context: SessionContext, whenTold: @escaping @Sendable (_ isOwed: Bool) -> Void) {
        id = lost.id
        self.context = context
        transportKind = lost.connection.transportKind
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        slots = SessionSlots(nil)
        clientAddress = "lost"
        let dialect = context.configuration.dialect
        prepared = dialect.prepare(lost.connection)
        identity = SessionIdentity(lost.identity, dialect)
        machine = SessionStateMachine(lostAt: .now())
        registration = SessionRegistration([])
        registration?.whenTold = whenTold
    }

    /// A session that waits for its client, after it was on another node.
    init(arriving record: SessionRecord, _ connection: WebhookConnection, context: SessionContext) {
        id = record.id
        self.context = context
        transportKind = connection.transportKind
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        slots = SessionSlots(nil)
        clientAddress = "moved"
        prepared = context.configuration.dialect.prepare(connection)
        identity = SessionIdentity()
        machine = SessionStateMachine()
        registration = SessionRegistration(record.connection)
    }

    /// The session of a client of an earlier process, for which events are owed to the app.
    init(recovered session: RecoveredSession, context: SessionContext) {
        let recovered = session.row
        id = recovered.id
        self.context = context
        transportKind = session.connection.transportKind
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        slots = SessionSlots(nil)
        clientAddress = "recovered"
        let dialect = context.configuration.dialect
        prepared = dialect.prepare(session.connection)
        identity = SessionIdentity(session.identity, dialect)
        // Sequences continue after the last answered event, unless one in between was lost.
        machine = SessionStateMachine(
            resumingAfter: Self.lastDone(recovered),
            messagesIn: recovered.messagesIn - recovered.messages.count,
            at: .now()
        )
        recoveredCloseTime = recovered.close?.at
    }

    deinit { delivery?.cancel() }

    // MARK: From the transport

    /// Asks the app whether the handshake may go on.
    func start(responder: any HandshakeResponder) {
        self.responder = responder
        context.registry.insert(self)
        begin()
    }

    /// Delivers the `open` event; in a cluster, when the other nodes know the connection.
    func begin() {
        guard context.registrations != nil else { return perform(machine.begin()) }
        enterCluster { self.perform(self.machine.begin()) }
    }

    /// Asks the app whether the client is still welcome.
    func revalidate() { perform(machine.revalidate()) }

    /// The connection has been upgraded to this transport.
    ///
    /// - Parameter responder: Is told what the app decides, if that is still open.
    func attach(_ transport: any SessionTransport, responder: (any HandshakeResponder)? = nil) {
        self.transport = transport
        self.responder = responder
    }

    /// A data message arrived from the client.
    func received(_ format: MessageFormat, _ payload: ByteBuffer, at now: NIODeadline) {
        context.metrics.incoming.message(format, payloadBytes: payload.readableBytes)
        guard isAllowed(payloadBytes: payload.readableBytes, at: now) else { return }
        if let conversation {
            return awaitsToken ? takeFirstFrame(format, payload) : conversation.received(format, payload, at: now)
        }
        if context.authenticator != nil, takesToken(format, payload) { return }
        accept(format, payload, label: nil, at: now)
    }

    /// Takes over a message for the app.
    ///
    /// - Parameter label: What a client of the protocol says of it.
    func accept(_ format: MessageFormat, _ payload: ByteBuffer, label: MessageLabel?, at now: NIODeadline) {
        let time = WallClock.unixMilliseconds()
        if machine.isRunning {
            journal?.accepted(format, payload, label: label, sequence: machine.nextSequence, at: time)
        }
        perform(machine.received(format, payload, label: label, at: time, since: now), at: now)
        accountBytes()
    }

    /// A transport has ended, or is ending, for a reason of its own; another one may have replaced it.
    ///
    /// - Parameter ended: Nil for a handshake that became none.
    func transportEnded(
        _ ended: (any SessionTransport)? = nil,
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator
    ) {
        if let ended, ended !== transport { return }
        passOnPosts()
        if attemptEnded() { return }
        if mayReturn(code, initiator), detachIfPossible(code: code, reason: reason, initiator: initiator, nil) {
            return
        }
        end(code: code, reason: reason, initiator: initiator)
        transport = nil
        responder = nil
    }

    /// Sends a message to this client.
    ///
    /// - Parameter type: Its type, for clients of the protocol; nil for the usual one.
    func send(_ format: MessageFormat, _ payload: ByteBuffer, type: String? = nil) {
        if let conversation, machine.isRunning { return conversation.send(format, payload, type: type) }
        guard machine.isRunning, let transport else {
            context.metrics.messagesDropped(1, reason: .clientGone)
            return
        }
        noteSent(format, payloadBytes: payload.readableBytes)
        transport.send(format, payload)
    }

    /// A message has been sent.
    func noteSent(_ format: MessageFormat, payloadBytes: Int) {
        machine.sent()
        context.metrics.outgoing.message(format, payloadBytes: payloadBytes)
    }

    /// True when no event is in flight and none waits, so that nothing is lost by closing now.
    var isQuiet: Bool { machine.isQuiet }
    /// True while it has a client.
    var isRunning: Bool { machine.isRunning }
}
