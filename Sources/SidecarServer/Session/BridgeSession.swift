import CoreMetrics
import DeliveryOutbox
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// One client's conversation with the app: it turns messages into events, and answers into messages.
///
/// The order is kept by ``SessionStateMachine``; this class performs what the machine and the app's answers say. Its
/// parts are in the files named after them: SessionAdmission, SessionRates, SessionEvents, SessionCompletions,
/// SessionReplies, SessionIdentity, SessionNotes, SessionOperator.
final class BridgeSession: WebhookCaller, TimerOwner {
    let id: String
    let shard: LoopShard
    /// What begins each of its requests.
    let prefix: EventPrefix
    let clientAddress: String
    let isStream: Bool
    /// The same as a label.
    var carrier: ClientTransport { isStream ? .eventStream : .webSocket }
    /// Until it has ended: it holds the session, too.
    private(set) var transport: (any SessionTransport)?
    /// The order of its events, and the messages that wait.
    var machine: SessionStateMachine

    /// Until the app has accepted.
    var handshake: HTTPRequestHead?

    // The event that is with the app, or on its way there.
    var underWay: EventUnderWay?
    /// Its place in the queue for a permit, while it waits.
    var ticket: WebhookTicket?
    let retryTimer = CallbackTimer()
    /// When the close event of an earlier process happened.
    var recoveredCloseTime: Int64?

    // Who the client is.
    private(set) var user: UserName?
    private(set) var state: String?
    /// The fields that say so.
    var identity: ByteBuffer?
    /// What tokens say of the client, and timers for it; nil for most.
    var clientIdentity: SessionIdentity?

    /// How many messages it has published, for the log.
    var publications = 0

    // Limits.
    private var slot: AdmissionGuard.Slot?
    private var userSlot: SharedBucket?
    var allowance: MessageAllowance
    /// True while a rate keeps it from taking more.
    var isThrottled = false
    var throttle: SessionThrottle?
    private var accountedBytes = 0
    private var isWaitingForBudget = false
    /// True while nobody has been told that something waits for the process-wide budget.
    var isBudgetWaitUncounted = false

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
        slot: AdmissionGuard.Slot,
        isStream: Bool = false,
        lastEventID: String? = nil,
        shard: LoopShard
    ) {
        self.isStream = isStream
        self.lastEventID = lastEventID
        self.id = id
        self.shard = shard
        self.slot = slot
        self.allowance = shard.admission.allowance(for: slot)
        self.handshake = handshake
        self.machine = SessionStateMachine(maxBatch: shard.configuration.settings.webhookBatch ?? 1)
        self.clientAddress = client.address
        self.prefix = shard.configuration.dialect.prefix(
            for: handshake,
            connectionID: id,
            client: client,
            isStream: isStream
        )
    }

    /// Makes the session of a client of an earlier process, which owes the app events.
    init(recovered: RecoveredConnection, shard: LoopShard) {
        id = recovered.id
        self.shard = shard
        isStream = false
        slot = nil
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        clientAddress = "recovered"
        prefix = EventPrefix(ByteBuffer(bytes: recovered.head))
        identity = recovered.identity.isEmpty ? nil : ByteBuffer(bytes: recovered.identity)
        // Sequences count on from what was answered, unless something in between was lost.
        machine = SessionStateMachine(
            resumingAfter: Self.lastDone(recovered),
            messagesIn: recovered.messagesIn - recovered.messages.count,
            at: .now()
        )
        recoveredCloseTime = recovered.close?.at
    }

    /// The event before the first one that is still owed.
    private static func lastDone(_ recovered: RecoveredConnection) -> UInt64 {
        guard let first = recovered.messages.first?.sequence ?? recovered.close?.sequence else {
            return recovered.lastAnswered
        }
        return first > 0 ? first - 1 : 0
    }

    /// Delivers what an earlier process owed: the messages, then the end.
    func resume(_ recovered: RecoveredConnection) {
        shard.insert(self)
        for message in recovered.messages {
            let payload = ByteBuffer(bytes: message.payload)
            perform(machine.received(.init(isText: message.isText), payload, at: message.at))
        }
        let report = recovered.close.flatMap { CloseReport(json: ByteBuffer(bytes: $0.body)) }
        if let report {
            perform(machine.ended(with: report))
        } else {
            perform(machine.ended(code: 1006, reason: "", initiator: .server, at: .now()))
        }
        accountBytes()
    }

    /// The client was limited; the operator may want to know.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        shard.admission.refusals.note(kind, client: clientAddress, more())
    }

    /// The client has broken the protocol or a limit; whoever does so again and again is banned (`AUTO_BAN`).
    func countViolation() { shard.admission.countViolation(by: clientAddress) }

    // MARK: From the transport

    /// Asks the app whether the handshake may go on.
    func start(transport: any SessionTransport) {
        self.transport = transport
        shard.insert(self)
        begin()
    }

    /// Tells the app of the client.
    func begin() { perform(machine.begin()) }

    /// Asks the app whether the client is still welcome.
    func revalidate() { perform(machine.revalidate()) }

    /// The transport has changed with the upgrade; the session is now open.
    func attach(_ transport: any SessionTransport) {
        self.transport = transport
    }

    /// A data message arrived from the client.
    func received(_ format: MessageFormat, _ payload: ByteBuffer, at now: NIODeadline) {
        shard.metrics.incoming.message(format, payloadBytes: payload.readableBytes)
        guard isAllowed(payloadBytes: payload.readableBytes, at: now) else { return }
        if shard.state.authenticator != nil, takesToken(format, payload) { return }
        let time = WallClock.unixMilliseconds()
        journalAccepted(format, payload, at: time)
        perform(machine.received(format, payload, at: time, since: now), at: now)
        accountBytes()
    }

    func releaseSlots() {
        if let throttle { shard.timers.cancel(throttle.entry) }
        throttle = nil
        cancelIdentityTimers()
        if let slot { shard.admission.leave(slot) }
        slot = nil
        userSlot?.close()
        userSlot = nil
    }

    /// The client has gone, though not all that it sent has been taken.
    func clientLeft() {
        if isCounted { shard.state.sessionClosed(carrier) }
        isCounted = false
    }

    /// The transport has ended, or is ending, for a reason of its own.
    func transportEnded(code: UInt16, reason: String, initiator: CloseInitiator) {
        end(code: code, reason: reason, initiator: initiator)
        transport = nil
    }

    /// Forgets the session; nothing of it is left to be delivered.
    func leaveShard() {
        shard.remove(self)
        transport = nil
        underWay = nil
    }

    /// True while no more messages may be read: too much waits for the app.
    var mustPauseReading: Bool {
        if mustPauseResidualInput { return true }
        if awaitsToken { return false }
        guard shard.state.pendingBytes.isSpent, machine.isRunning else { return false }
        if !isWaitingForBudget {
            isWaitingForBudget = true
            isBudgetWaitUncounted = true
            shard.waitForBudget(self)
        }
        return true
    }

    /// The same for what a client that has gone has left: it is held anyway, so the process-wide budget cannot wait
    /// for it.
    var mustPauseResidualInput: Bool {
        // In a drain it ends as soon as the app has answered what came before.
        if awaitsApp { return true }
        if isDraining || isThrottled { return machine.isRunning }
        return isPaused
    }

    /// True when so much of its own waits that nothing more is read.
    var isPaused: Bool { accountedBytes >= shard.configuration.settings.maxPendingBytes }

    /// Somebody has given bytes back to the process-wide budget.
    func budgetMayBeFree() {
        isWaitingForBudget = false
        lookForInput()
        isBudgetWaitUncounted = false
        transport?.resumeReading()
    }

    /// Other settings hold from now on.
    ///
    /// - Parameter isOfTransport: Whether the kernel has to be told of them.
    func settingsChanged(isOfTransport: Bool) {
        shard.admission.change(&allowance)
        if isThrottled { endThrottle() }  // the next message tells whether it still has to wait
        transport?.settingsChanged(isOfTransport: isOfTransport)
    }

    func mark(user: UserName?, state: String?) {
        if let user, user != self.user ?? "" {
            self.user = nil
            userSlot?.close()
            userSlot = nil
            allowance.share(withUser: nil)
            if !machine.isRunning {
                // The client has gone: its close event tells the user, but nobody would give the slot back.
                self.user = user.isEmpty ? nil : user
            } else if !user.isEmpty, !takeSlot(ofUser: user) {
                close(code: 1008, reason: "this user has too many connections open", for: .connectionLimit)
            } else if shard.admission.bans.covers(user: user) {
                shard.metrics.limited("ban", action: "closed")
                close(code: 4403, reason: "access is denied", discarding: true, for: .ban)
            }
        }
        if let state { self.state = state.isEmpty ? nil : state }
        writeIdentity()
    }

    /// Makes the fields anew that say who the client is.
    func writeIdentity() {
        identity = CloudEventsDialect.identityLines(user: user, state: state, claims: clientIdentity?.claims ?? [])
        journalIdentity()
    }

    /// From now on the connection counts with those of this user; false when the user may have no more.
    func takeSlot(ofUser user: UserName) -> Bool {
        guard let bucket = shard.admission.slot(forUser: user, client: clientAddress) else { return false }
        userSlot?.close()
        self.user = user
        userSlot = bucket
        if shard.admission.limitsMessagesPerUser { allowance.share(withUser: bucket) }
        return true
    }

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard machine.isRunning, let transport else {
            shard.metrics.messagesDropped(1, reason: "client_gone")
            return
        }
        noteSent(format, payloadBytes: payload.readableBytes)
        transport.send(format, payload)
    }

    // MARK: The end

    /// Closes the client's connection by our decision or the app's.
    ///
    /// - Parameter discarding: The messages that wait have no reader any more, since the app closed or failed; else
    ///   they came in good order and are still delivered.
    /// - Parameter cause: Why; nil for what the code says by itself.
    func close(code: UInt16, reason: String, discarding: Bool = false, for cause: CloseCause? = nil) {
        if awaitsToken {
            closeTransport(code: code, reason: reason)
            return leaveUnknown(as: .auth)
        }
        guard machine.isRunning else { return }
        if discarding { shard.metrics.messagesDropped(discardQueue(), reason: "closed") }
        // Before the transport, which may find the client gone when it says goodbye; a close event that fails at once
        // lets go of it.
        let transport = transport
        end(code: code, reason: reason, initiator: .server, for: cause)
        transport?.close(code: code, reason: reason)
    }

    /// Says goodbye on a transport whose session the app does not know.
    func closeTransport(code: UInt16, reason: String) { transport?.close(code: code, reason: reason) }

    /// Forgets a client that never told who it is.
    func leaveUnknown(as result: HandshakeResult) {
        shard.metrics.count(result)
        releaseSlots()
        handshake = nil
        machine.refused()
        clientIdentity = nil
        leaveShard()
    }

    /// A message has gone out.
    func noteSent(_ format: MessageFormat, payloadBytes: Int) {
        machine.sent()
        shard.metrics.outgoing.message(format, payloadBytes: payloadBytes)
    }

    /// True when no event is with the app and none waits: an end now costs nobody anything.
    var isQuiet: Bool { machine.isQuiet }
    /// True while it has a client.
    var isRunning: Bool { machine.isRunning }

    /// Closes for a drain, once nothing of this session waits for the app.
    func drain() {
        if awaitsToken {
            closeTransport(code: 1012, reason: "the server is restarting")
            return leaveUnknown(as: .draining)
        }
        if waitsForAdmission {
            leaveQueue()
            decideAgainst(.refuse(.draining, .draining))
            return
        }
        isDraining = true
        if machine.isRunning, machine.isQuiet { close(code: 1012, reason: "the server is restarting") }
    }

    /// The drain is over: what has not been delivered is left to the next process, or never will be.
    func abandon() {
        leaveQueue()
        retryTimer.cancel(in: shard.timers)
        let isKept = machine.wasAccepted && shard.state.outboxIsWritable == true
        let level = isKept ? Logger.Level.notice : .error
        var owed = machine.discardQueue()
        if let underWay, !machine.isQuiet {
            if underWay.kind == .message || underWay.kind == .close { owed += underWay.count }
            log(.timeout, underWay, level: level, "drain timeout: an event was not delivered")
        }
        if underWay?.kind != .close, machine.wasAccepted {
            owed += 1
            shard.logger.log(
                level: level,
                "drain timeout: the close event was not delivered",
                metadata: [
                    "connection": "\(id)", "client": "\(clientAddress)",
                    "event_id": "\(id)-\(machine.nextSequence)",
                ]
            )
        }
        // What is on disk comes with the next start.
        if !isKept { shard.metrics.messagesDropped(owed, reason: "drain_timeout") }
        let transport = transport
        if machine.isRunning {
            end(code: 1012, reason: "the server is restarting", initiator: .server)
            transport?.close(code: 1012, reason: "the server is restarting")
        } else if !machine.wasAccepted, !machine.hasEnded {
            transport?.handshakeDecided(.refuse(.draining, .draining))
        }
        leaveShard()
    }

    func end(
        code: UInt16,
        reason: String,
        initiator: CloseInitiator,
        for cause: CloseCause? = nil
    ) {
        guard !machine.hasEnded else { return }
        if awaitsToken { return leaveUnknown(as: .auth) }
        if waitsForAdmission {
            // The app has not heard of it and need not; the ticket in the queue finds nobody.
            leaveQueue()
            handshake = nil
            releaseSlots()
            machine.refused()
            leaveShard()
            return
        }
        let wasRunning = isOpen
        isOpen = false
        shard.channels.leaveAll(self)
        let now = NIODeadline.now()
        let age = machine.age(at: now)
        let step = machine.ended(code: code, reason: reason, initiator: initiator, at: now)
        releaseSlots()
        if wasRunning {
            clientLeft()
            let cause = cause ?? CloseCause(code: code, initiator: initiator)
            shard.metrics.connectionClosed(code: code, initiator: initiator, cause: cause, carrier)
            shard.metrics.connectionDuration.recordNanoseconds(age.nanoseconds)
            logEnd(code: code, reason: reason, initiator: initiator, cause: cause, age: age)
        }
        perform(step)
        accountBytes()
    }

    /// What a session costs whose client has gone and whose close event is not delivered yet, in bytes; so many
    /// closes that nobody takes fill the budget, and no more clients are let in.
    private static let undeliveredCloseBytes = 2048

    func accountBytes() {
        let pending = machine.pendingBytes + (machine.owesClose ? Self.undeliveredCloseBytes : 0)
        if pending != accountedBytes {
            shard.state.pendingBytes.adjust(by: pending - accountedBytes)
            accountedBytes = pending
        }
    }
}
