import CoreMetrics
import DeliveryOutbox
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// One client's conversation with the app: it turns messages into events, and answers into messages.
///
/// It routes: the order of events is kept by ``SessionStateMachine``, an event is brought to the app by
/// ``WebhookDelivery``, what keeps it from taking more is in ``SessionBackPressure``, what is owed is noted by ``SessionJournal``,
/// and a ``SessionTransport`` carries messages to the client, if there is one now.
final class BridgeSession: TimerOwner {
    let id: String
    let context: SessionContext
    /// What begins each of its requests.
    let prepared: PreparedConnection
    let clientAddress: String
    let carrier: ClientTransport
    /// Until it has ended: it holds the session, too.
    var transport: (any SessionTransport)?
    /// Who hears what the app decides about the handshake, until it has.
    var responder: (any HandshakeResponder)?
    /// The order of its events, and the messages that wait.
    var machine: SessionStateMachine

    /// Until the app has accepted.
    var handshake: HTTPRequestHead?
    /// What the outbox keeps of the connection; until then, too, and empty without an outbox.
    var openingRecord: [UInt8] = []

    /// The event that is with the app, or on its way there.
    var delivery: ConnectionEventDelivery?
    /// When the close event of an earlier process happened.
    var recoveredCloseTime: Int64?

    var identity: SessionIdentity
    var user: UserName? { identity.user }

    /// How many messages it has published, for the log.
    var publications = 0

    /// What its client may send.
    var allowance: MessageAllowance
    /// Its slots among the connections of its address and of its user.
    var slots: SessionSlots
    /// What keeps it from taking more.
    var backPressure = SessionBackPressure()

    /// The channels that it is in, each with its place among the subscribers.
    var channels: [ChannelName: Int] = [:]
    /// Where an event stream was before, until it has gone on from there.
    var lastEventID: String?
    /// Whose stream it goes on with; 0 for nobody's.
    var formerReader: UInt64 = 0

    /// True once the app has accepted, until the end.
    var isOpen = false
    /// True while it counts as a connection.
    var isCounted = false
    var isDraining = false

    /// Makes a session whose handshake the app has not seen yet.
    init(
        id: String,
        handshake: HTTPRequestHead,
        client: ClientIdentity,
        slot: ConnectionSlots.Slot,
        carrier: ClientTransport,
        lastEventID: String? = nil,
        context: SessionContext
    ) {
        self.carrier = carrier
        self.lastEventID = lastEventID
        self.id = id
        self.context = context
        allowance = context.admission.allowances.allowance(for: slot)
        slots = SessionSlots(slot)
        self.handshake = handshake
        identity = SessionIdentity()
        self.machine = SessionStateMachine(maxBatch: context.settings.webhookBatch ?? 1)
        self.clientAddress = client.address
        let dialect = context.configuration.dialect
        let isStream = carrier == .eventStream
        let connection = dialect.connection(for: handshake, id: id, client: client, isStream: isStream)
        prepared = dialect.prepare(connection)
        if context.outbox != nil { openingRecord = connection.record }
    }

    deinit { delivery?.cancel() }

    /// Makes the session of a client of an earlier process, which owes the app events.
    init(recovered session: RecoveredSession, context: SessionContext) {
        let recovered = session.row
        id = recovered.id
        self.context = context
        carrier = .webSocket
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        slots = SessionSlots(nil)
        clientAddress = "recovered"
        let dialect = context.configuration.dialect
        prepared = dialect.prepare(session.connection)
        identity = SessionIdentity(session.identity, dialect)
        // Sequences count on from what was answered, unless something in between was lost.
        machine = SessionStateMachine(
            resumingAfter: Self.lastDone(recovered),
            messagesIn: recovered.messagesIn - recovered.messages.count,
            at: .now()
        )
        recoveredCloseTime = recovered.close?.at
    }

    // MARK: From the transport

    /// Asks the app whether the handshake may go on.
    func start(responder: any HandshakeResponder) {
        self.responder = responder
        context.registry.insert(self)
        begin()
    }

    /// Tells the app of the client.
    func begin() { perform(machine.begin()) }

    /// Asks the app whether the client is still welcome.
    func revalidate() { perform(machine.revalidate()) }

    /// The connection has become what the session goes on with.
    ///
    /// - Parameter responder: Who hears what the app decides, if that is still open.
    func attach(_ transport: any SessionTransport, responder: (any HandshakeResponder)? = nil) {
        self.transport = transport
        self.responder = responder
    }

    /// A data message arrived from the client.
    func received(_ format: MessageFormat, _ payload: ByteBuffer, at now: NIODeadline) {
        context.metrics.incoming.message(format, payloadBytes: payload.readableBytes)
        guard isAllowed(payloadBytes: payload.readableBytes, at: now) else { return }
        if context.authenticator != nil, takesToken(format, payload) { return }
        let time = WallClock.unixMilliseconds()
        if machine.isRunning {
            journal?.accepted(format, payload, sequence: machine.nextSequence, at: time)
        }
        perform(machine.received(format, payload, at: time, since: now), at: now)
        accountBytes()
    }

    /// The transport has ended, or is ending, for a reason of its own.
    func transportEnded(code: SessionCloseCode, reason: String, initiator: CloseInitiator) {
        end(code: code, reason: reason, initiator: initiator)
        transport = nil
        responder = nil
    }

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard machine.isRunning, let transport else {
            context.metrics.messagesDropped(1, reason: .clientGone)
            return
        }
        noteSent(format, payloadBytes: payload.readableBytes)
        transport.send(format, payload)
    }

    /// A message has gone out.
    func noteSent(_ format: MessageFormat, payloadBytes: Int) {
        machine.sent()
        context.metrics.outgoing.message(format, payloadBytes: payloadBytes)
    }

    /// True when no event is with the app and none waits: an end now costs nobody anything.
    var isQuiet: Bool { machine.isQuiet }
    /// True while it has a client.
    var isRunning: Bool { machine.isRunning }

}
