import CoreMetrics
import DeliveryOutbox
import Logging
import NIOCore
import SidecarCore

/// One client's conversation with the app: it turns messages into events, and answers into messages.
///
/// The order is kept by ``SessionStateMachine``; this class performs what the machine and the app's answers say.
final class BridgeSession: WebhookSource, TimerOwner {
    let id: String
    let shard: LoopShard
    let prefix: ByteBuffer
    let clientAddress: String
    private var handshake: HTTPRequestHead?
    var machine: SessionStateMachine
    /// When the close event of an earlier process happened.
    private var recoveredCloseTime: Int64?
    private var underWay: EventUnderWay?
    /// Its place in the queue for a permit, while it waits.
    private var ticket: WebhookTicket?
    private var accountedBytes = 0
    private(set) var user: String?
    private var state: String?
    private var identity: ByteBuffer?
    private var isDraining = false
    private var isOpen = false
    private var isCounted = false
    private var isWaitingForBudget = false
    private var seat: AdmissionGuard.Seat?
    private var userSeat: SharedBucket?
    private var allowance: MessageAllowance
    /// True while a rate keeps it from taking more.
    private(set) var isThrottled = false
    private var throttle: TimerEntry?
    private let retryTimer = CallbackTimer()
    private(set) weak var transport: (any SessionTransport)?
    private let isStream: Bool
    /// Where an event stream was before, until it has gone on from there.
    var lastEventID: String?
    /// The channels that it is in, each with its place among the subscribers.
    var channels: [ChannelName: Int] = [:]
    /// What tokens say of the client, and timers for it; nil for most.
    var clientIdentity: SessionIdentity?

    /// Makes a session whose handshake the app has not seen yet.
    init(
        id: String,
        handshake: HTTPRequestHead,
        client: ClientIdentity,
        seat: AdmissionGuard.Seat,
        isStream: Bool = false,
        lastEventID: String? = nil,
        shard: LoopShard
    ) {
        self.isStream = isStream
        self.lastEventID = lastEventID
        self.id = id
        self.shard = shard
        self.seat = seat
        self.allowance = shard.admission.allowance(for: seat)
        self.handshake = handshake
        self.machine = SessionStateMachine(maxBatch: shard.configuration.settings.webhookBatch ?? 1)
        self.clientAddress = client.address
        self.prefix = shard.configuration.dialect.prefix(
            for: handshake,
            connectionID: id,
            client: client,
            isStream: isStream
        )
        self.client = client
    }

    /// Makes the session of a client of an earlier process, which owes the app events.
    init(recovered: RecoveredConnection, shard: LoopShard) {
        id = recovered.id
        self.shard = shard
        isStream = false
        seat = nil
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
        clientAddress = "recovered"
        prefix = ByteBuffer(bytes: recovered.head)
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

    private var client: ClientIdentity?

    /// Delivers what an earlier process owed: the messages, then the end.
    func resume(_ recovered: RecoveredConnection) {
        shard.insert(self)
        for message in recovered.messages {
            let payload = ByteBuffer(bytes: message.payload)
            perform(machine.received(message.isText ? .text : .binary, payload, at: message.at))
        }
        let report = recovered.close.flatMap { CloseReport(json: ByteBuffer(bytes: $0.body)) }
        if let report {
            perform(machine.ended(with: report))
        } else {
            perform(machine.ended(code: 1006, reason: "", initiator: .server, at: .now()))
        }
        accountBytes()
    }

    /// The client has broken the protocol or a limit; whoever does so again and again is banned (`AUTO_BAN`).
    func breached() { shard.admission.breach(by: clientAddress) }

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
    func received(_ format: MessageFormat, _ payload: ByteBuffer) {
        shard.metrics.incoming.message(format, payloadBytes: payload.readableBytes)
        guard isAllowed(payloadBytes: payload.readableBytes) else { return }
        if shard.state.authenticator != nil, takesToken(format, payload) { return }
        let now = WallClock.unixMilliseconds()
        if machine.isRunning { noteAccepted(format, payload, at: now) }
        perform(machine.received(format, payload, at: now))
        accountBytes()
    }

    // MARK: Rates

    /// Counts a message against the rates; false when it is too much and the connection closes for it.
    private func isAllowed(payloadBytes: Int) -> Bool {
        if allowance.isUnlimited { return true }
        let now = AdmissionGuard.now()
        let metrics = shard.metrics
        func overstepped(_ limit: DryRunLimit) { metrics.limited(limit.rawValue, action: "dry_run") }
        switch shard.configuration.settings.rateLimitAction {
        case .throttle:
            if let excess = allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped) {
                pause(for: excess)
            }
            return true
        case .close:
            guard let limit = allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped) else {
                return true
            }
            metrics.limited(limit.rawValue, action: "closed")
            breached()
            metrics.messagesDropped(1, reason: "rate_limited")
            close(code: 4429, reason: "too many messages")
            return false
        }
    }

    /// Stops reading until the connection has tokens again; nothing is lost, the client's own buffer fills up.
    private func pause(for excess: MessageAllowance.Excess) {
        guard machine.isRunning else { return }
        if !isThrottled { shard.metrics.limited(excess.limit.rawValue, action: "throttled") }
        isThrottled = true
        let entry = throttle ?? TimerEntry()
        throttle = entry
        shard.timers.arm(entry, owner: self, at: .now() + .nanoseconds(excess.wait))
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        isThrottled = false
        throttle = nil
        transport?.resumeReading()
        return nil
    }

    private func leaveSeats() {
        if let throttle { shard.timers.cancel(throttle) }
        throttle = nil
        cancelIdentityTimers()
        if let seat { shard.admission.leave(seat) }
        seat = nil
        userSeat?.close()
        userSeat = nil
    }

    /// The client has gone, though not all that it sent has been taken.
    func clientLeft() {
        if isCounted { shard.state.sessionClosed() }
        isCounted = false
    }

    /// The transport has ended, or is ending, for a reason of its own.
    func transportEnded(code: UInt16, reason: String, initiator: SidecarCore.CloseInitiator) {
        end(code: code, reason: reason, initiator: initiator)
    }

    /// True while no more messages may be read: too much waits for the app.
    var mustPauseReading: Bool {
        if mustPauseLeftover { return true }
        if awaitsToken { return false }
        guard shard.state.pendingBytes.isSpent, machine.isRunning else { return false }
        if !isWaitingForBudget {
            isWaitingForBudget = true
            shard.metrics.limited("max_total_pending_bytes", action: "throttled")
            shard.waitForBudget(self)
        }
        return true
    }

    /// The same for what a client that has gone has left: it is held anyway, so the process-wide budget cannot wait
    /// for it.
    var mustPauseLeftover: Bool {
        // In a drain it ends as soon as the app has answered what came before.
        if awaitsApp { return true }
        if isDraining || isThrottled { return machine.isRunning }
        return isPaused
    }

    /// Somebody has given bytes back to the process-wide budget.
    func budgetMayBeFree() {
        isWaitingForBudget = false
        transport?.resumeReading()
    }

    /// Other settings hold from now on.
    func settingsChanged() { transport?.settingsChanged() }

    // MARK: Events to the app

    func permitGranted(_ ticket: WebhookTicket, address: Int) {
        let now = NIODeadline.now()
        guard self.ticket === ticket else {
            // It gave up its place: the client has gone, or has waited too long.
            shard.state.gate.release(ticket.lane, address: address, .neutral, on: shard.eventLoop, at: now)
            return
        }
        self.ticket = nil
        retryTimer.cancel(in: shard.timers)
        call(address: address, at: now)
    }

    func writeRequest(into buffer: inout ByteBuffer) {
        guard let underWay else { return }
        let dialect = shard.configuration.dialect
        let signedAt = dialect.isSigned ? WallClock.unixMilliseconds() / 1000 : 0
        if case .open = underWay.delivery.event, let handshake, let client {
            dialect.writeOpen(
                handshake: handshake,
                identity: identity,
                connectionID: id,
                client: client,
                isStream: isStream,
                unixMilliseconds: underWay.happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        } else {
            dialect.write(
                underWay.delivery,
                prefix: prefix,
                identity: identity,
                connectionID: id,
                unixMilliseconds: underWay.happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        }
    }

    func completed(_ outcome: WebhookCall.Outcome) {
        guard let delivery = underWay?.delivery else { return }
        switch delivery.event {
        case .open: openCompleted(delivery, outcome)
        case .message, .batch: messageCompleted(delivery, outcome)
        case .revalidate: revalidationCompleted(delivery, outcome)
        case .close: closeCompleted(delivery, outcome)
        }
    }

    private func perform(_ step: SessionStateMachine.Step) {
        switch step {
        case .wait:
            break
        case .deliver(let delivery):
            var happenedAt = delivery.time ?? WallClock.unixMilliseconds()
            if case .close(let report) = delivery.event {
                happenedAt = recoveredCloseTime ?? happenedAt
                noteClosing(delivery.sequence, report, happenedAt)
            }
            underWay = EventUnderWay(delivery, happenedAt: happenedAt)
            if case .open = delivery.event {
                attempt(at: .now())
            } else {
                afterNoting { self.attempt(at: .now()) }
            }
        case .finish:
            shard.remove(self)
        }
    }

    /// Asks for a permit, for the first time or again.
    private func attempt(at now: NIODeadline) {
        guard let kind = underWay?.kind else { return }
        underWay?.asked(at: now)
        switch shard.state.gate.acquire(kind.lane, for: self, on: shard.eventLoop, at: now) {
        case .granted(let address): call(address: address, at: now)
        case .queued(let ticket):
            self.ticket = ticket
            if !waitsForAdmission { watchWait() }
        case .full: turnAway(limit: "handshake_queue", .connectionLimit)
        case .unavailable: turnAway(limit: "breaker", .appFailed)
        }
    }

    private func call(address: Int, at now: NIODeadline) {
        guard let kind = underWay?.kind, let askedAt = underWay?.askedAt else { return }
        let metrics = shard.metrics.webhook(for: kind)
        metrics.wait.recordNanoseconds((now - askedAt).nanoseconds)
        WebhookCall(
            of: self,
            lane: kind.lane,
            metrics: metrics,
            address: address,
            shard: shard,
            at: now
        ).start()
    }

    private func leaveQueue() {
        if let ticket { shard.state.gate.giveUp(ticket) }
        ticket = nil
    }

    // MARK: Retries

    /// While no address can be called, waiting for a permit takes from the time for retries; one attempt's time it may
    /// always wait.
    private func watchWait() {
        guard let underWay else { return }
        let settings = shard.configuration.settings
        let deadline = underWay.dueSince + max(settings.webhookRetryFor, settings.webhookTimeout)
        retryTimer.arm(in: shard.timers, at: max(deadline, .now() + .seconds(1))) { [weak self] _ in
            self?.waitedLong()
        }
    }

    private func waitedLong() {
        guard ticket != nil, let delivery = underWay?.delivery else { return }
        // Others come first, or somebody finds out right now whether the app is well.
        if !shard.state.gate.isHopeless { return watchWait() }
        leaveQueue()
        gaveUp(delivery, .connect("No address of it can be called."))
    }

    /// Tries the event again later if there is time for it.
    private func retries(_ failure: DeliveryFailure, retryAfter: TimeAmount?) -> Bool {
        guard failure.isTransient, let attempt = underWay else { return false }
        let now = NIODeadline.now()
        guard
            let delay = shard.configuration.retryPolicy.delay(
                afterFailures: attempt.failures + 1,
                since: attempt.dueSince,
                now: now,
                retryAfter: retryAfter,
                jitter: .random(in: 0..<1)
            )
        else { return false }
        underWay?.failures += 1
        if attempt.failures == 0 { log(failure, attempt.delivery, level: .info, "an event is tried again") }
        retryTimer.arm(in: shard.timers, at: now + delay) { [weak self] now in
            guard let self, let kind = self.underWay?.kind else { return }
            self.shard.metrics.webhook(for: kind).retries.increment()
            self.attempt(at: now)
        }
        return true
    }

    // MARK: Answers

    private func openCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        switch outcome {
        case .failure(.connect) where triesOtherAddress():
            break
        case .failure(let failure):
            log(failure, delivery, level: .warning)
            decideAgainst(.fail(failure))
        case .success(let (head, body)):
            guard (200..<300).contains(head.status) else {
                decideAgainst(.relay(head, body))
                return
            }
            noteOpened()
            afterNoting { self.opened(by: head, body: body, delivery) }
        }
    }

    /// True while the handshake waits for its turn and the app has not heard of it.
    private var waitsForAdmission: Bool {
        guard ticket != nil, case .open? = underWay?.delivery.event else { return false }
        return true
    }

    /// The handshake has waited for its turn as long as it may.
    func admissionTimedOut() {
        if waitsForAdmission { turnAway(limit: "handshake_timeout", .timeout) }
    }

    /// Sends a client away that the app has not heard of; it may come again when the crowd has gone.
    private func turnAway(limit: String, _ result: HandshakeResult) {
        leaveQueue()
        shard.metrics.limited(limit, action: "refused")
        decideAgainst(
            .refuse(
                Refusal(
                    status: 503,
                    sentence: result == .appFailed
                        ? "The application is not available." : "Too many clients connect at once; try again later.",
                    reason: result.rawValue,
                    retryAfter: ServerConfiguration.retryAfter()
                ),
                result
            )
        )
    }

    /// No connection came up, so the app saw nothing: another address may take the handshake, once for each.
    private func triesOtherAddress() -> Bool {
        guard let failures = underWay?.failures,
            failures + 1 < shard.configuration.settings.webhookOrigins.count
        else { return false }
        underWay?.failures += 1
        shard.metrics.open.retries.increment()
        attempt(at: .now())
        return true
    }

    private func decideAgainst(_ decision: HandshakeDecision) {
        machine.refused()
        leaveSeats()
        handshake = nil
        client = nil
        shard.remove(self)
        transport?.handshakeDecided(decision)
    }

    private func opened(by head: HTTPReplyHead, body: ByteBuffer, _ delivery: Delivery) {
        let step = machine.accepted(at: .now())
        handshake = nil
        client = nil
        let reply: WebhookReply
        do throws(DeliveryFailure) {
            reply = try checked(try WebhookReply(head: head, body: body))
        } catch {
            // The app thinks that it has accepted, so it hears of the end.
            log(error, delivery, level: .warning)
            transport?.handshakeDecided(.fail(error))
            performLast(step, code: 1006)
            return
        }
        guard machine.isRunning else {
            perform(step)  // the client has gone meanwhile: this is its close event
            accountBytes()
            return
        }
        if let user = reply.user, shard.admission.bans.covers(user: user) {
            shard.metrics.limited("ban", action: "refused")
            transport?.handshakeDecided(.refuse(HandshakeRejection.banned.refusal, .auth))
            performLast(step, code: 1006)
            return
        }
        if let user = reply.user, !user.isEmpty, user != self.user, !takeSeat(ofUser: user) {
            transport?.handshakeDecided(
                .refuse(
                    .tooManyConnections(of: "user", limit: shard.configuration.settings.maxConnectionsPerUser),
                    .connectionLimit
                )
            )
            performLast(step, code: 1006)
            return
        }
        shard.state.sessionOpened()
        isOpen = true
        isCounted = true
        shard.metrics.connectionsOpened.increment()
        // Before the client hears of it: what is published from then on is for it too. Nothing can be delivered in
        // between, since that takes a turn of the loop.
        joinChannels(of: reply)
        transport?.handshakeDecided(.accept(head))
        perform(step)
        if machine.isRunning {
            identitySettled()
            apply(reply)
            if shard.admission.bans.covers(IPAddress(clientAddress)) || shard.admission.bans.covers(user: user) {
                // It came while we asked the app.
                shard.metrics.limited("ban", action: "closed")
                close(code: 4403, reason: "access is denied", discarding: true)
            }
            if shard.state.isDraining { drain() }
        }
    }

    /// Ends a session that never became a WebSocket.
    private func performLast(_ step: SessionStateMachine.Step, code: UInt16) {
        if case .deliver = step {
            perform(step)
        } else {
            end(code: code, reason: "", initiator: .server)
        }
    }

    private func messageCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try WebhookReply(head: head, body: body, batchOf: delivery.sequences.count)))
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            messageFailed(delivery, error)
        }
        messageDone(delivery)
    }

    private func messageDone(_ delivery: Delivery) {
        underWay = nil  // an idle session does not keep the last message
        if let outbox = shard.state.outbox {
            for sequence in delivery.sequences { outbox.answered(id: id, sequence: sequence) }
        }
        perform(machine.answered())
        accountBytes()
        if !isPaused { transport?.resumeReading() }
        if isDraining { drain() }
    }

    private func revalidationCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try WebhookReply(head: head, body: body)))
            armRevalidation()
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            revalidationFailed(delivery, error)
        }
        messageDone(delivery)
    }

    /// Who is not vouched for is not welcome; an app that cannot be asked says nothing about anybody.
    private func revalidationFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .info, "the app did not confirm a client")
        if case .status = failure {
            close(code: 4403, reason: "no longer welcome", discarding: true)
        } else {
            close(code: failure.closeCode, reason: failure.closeReason, discarding: true)
        }
    }

    private var isPaused: Bool { accountedBytes >= shard.configuration.settings.maxPendingBytes }

    private func messageFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .warning)
        shard.metrics.messagesDropped(delivery.sequences.count, reason: "app_failed")
        if shard.configuration.settings.webhookFailure == .close {
            close(code: failure.closeCode, reason: failure.closeReason, discarding: true)
        }
    }

    private func closeCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            if !(200..<300).contains(head.status) { throw .status(head.status) }
            // Nobody is there to hear the answer, but others may be told.
            let reply = try? WebhookReply(head: head, body: body)
            for publication in reply?.publications ?? [] { publish(publication, excludesSelf: false) }
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            closeFailed(delivery, error)
        }
        closeDone()
    }

    private func closeFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .error)
        shard.metrics.messagesDropped(1, reason: "close_undelivered")
    }

    private func closeDone() {
        shard.state.outbox?.finished(id: id)
        perform(machine.answered())
        accountBytes()
    }

    /// The time for the event is over before it could be tried.
    private func gaveUp(_ delivery: Delivery, _ failure: DeliveryFailure) {
        switch delivery.event {
        case .open:
            break
        case .message, .batch:
            messageFailed(delivery, failure)
            messageDone(delivery)
        case .revalidate:
            revalidationFailed(delivery, failure)
            messageDone(delivery)
        case .close:
            closeFailed(delivery, failure)
            closeDone()
        }
    }

    func mark(user: String?, state: String?) {
        if let user, user != self.user ?? "" {
            self.user = nil
            userSeat?.close()
            userSeat = nil
            allowance.share(withUser: nil)
            if !machine.isRunning {
                // The client has gone: its close event tells the user, but nobody would give the seat back.
                self.user = user.isEmpty ? nil : user
            } else if !user.isEmpty, !takeSeat(ofUser: user) {
                close(code: 1008, reason: "this user has too many connections open")
            } else if shard.admission.bans.covers(user: user) {
                shard.metrics.limited("ban", action: "closed")
                close(code: 4403, reason: "access is denied", discarding: true)
            }
        }
        if let state { self.state = state.isEmpty ? nil : state }
        writeIdentity()
    }

    /// Makes the fields anew that say who the client is.
    func writeIdentity() {
        identity = CloudEventsDialect.identityLines(user: user, state: state, claims: clientIdentity?.claims ?? [])
        shard.state.outbox?.identityChanged(id: id, identity: identity.map { Array($0.readableBytesView) } ?? [])
    }

    /// From now on the connection counts with those of this user; false when the user may have no more.
    func takeSeat(ofUser user: String) -> Bool {
        guard let bucket = shard.admission.seat(forUser: user) else { return false }
        userSeat?.close()
        self.user = user
        userSeat = bucket
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
    func close(code: UInt16, reason: String, discarding: Bool = false) {
        if awaitsToken {
            closeTransport(code: code, reason: reason)
            return leaveUnknown(as: .auth)
        }
        guard machine.isRunning else { return }
        if discarding { shard.metrics.messagesDropped(discardQueue(), reason: "closed") }
        transport?.close(code: code, reason: reason)
        end(code: code, reason: reason, initiator: .server)
    }

    /// Says goodbye on a transport whose session the app does not know.
    func closeTransport(code: UInt16, reason: String) { transport?.close(code: code, reason: reason) }

    /// Forgets a client that never told who it is.
    func leaveUnknown(as result: HandshakeResult) {
        shard.metrics.count(result)
        leaveSeats()
        handshake = nil
        client = nil
        machine.refused()
        clientIdentity = nil
        shard.remove(self)
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

    /// The drain is over: what has not been delivered never will be.
    func abandon() {
        leaveQueue()
        retryTimer.cancel(in: shard.timers)
        if let delivery = underWay?.delivery, !machine.isQuiet {
            log(.timeout, delivery, level: .error, "drain timeout: an event was not delivered")
        }
        let isOwedClose: Bool
        if case .close? = underWay?.delivery.event { isOwedClose = false } else { isOwedClose = machine.wasAccepted }
        let dropped =
            machine.discardQueue() + (machine.isQuiet ? 0 : underWay?.delivery.sequences.count ?? 1)
            + (isOwedClose ? 1 : 0)
        shard.metrics.messagesDropped(dropped, reason: "drain_timeout")
        if isOwedClose {
            shard.logger.error(
                "drain timeout: the close event was not delivered",
                metadata: [
                    "connection": "\(id)", "client": "\(clientAddress)",
                    "event_id": "\(id)-\(machine.nextSequence)",
                ]
            )
        }
        if machine.isRunning {
            transport?.close(code: 1012, reason: "the server is restarting")
            end(code: 1012, reason: "the server is restarting", initiator: .server)
        }
        shard.remove(self)
    }

    private func end(code: UInt16, reason: String, initiator: SidecarCore.CloseInitiator) {
        guard !machine.hasEnded else { return }
        if awaitsToken { return leaveUnknown(as: .auth) }
        if waitsForAdmission {
            // The app has not heard of it and need not; the ticket in the queue finds nobody.
            leaveQueue()
            handshake = nil
            client = nil
            leaveSeats()
            machine.refused()
            shard.remove(self)
            return
        }
        let wasRunning = isOpen
        isOpen = false
        shard.channels.leaveAll(self)
        let now = NIODeadline.now()
        let age = machine.age(at: now)
        let step = machine.ended(code: code, reason: reason, initiator: initiator, at: now)
        leaveSeats()
        if wasRunning {
            clientLeft()
            shard.metrics.connectionClosed(code: code, initiator: initiator)
            shard.metrics.connectionDuration.recordNanoseconds(age.nanoseconds)
            shard.logger.info(
                "connection closed",
                metadata: [
                    "connection": "\(id)", "client": "\(clientAddress)", "user": "\(user ?? "")",
                    "code": "\(code)", "reason": "\(reason)", "initiator": "\(initiator.rawValue)",
                    "messages_in": "\(machine.messagesIn)", "messages_out": "\(machine.messagesOut)",
                    "duration_ms": "\(age.nanoseconds / 1_000_000)",
                ]
            )
        }
        perform(step)
        accountBytes()
    }

    /// What a session costs whose client has gone and whose close event is not delivered yet, in bytes; so many
    /// closes that nobody takes fill the budget, and no more clients are let in.
    private static let undeliveredCloseBytes = 2048

    private func accountBytes() {
        let pending = machine.pendingBytes + (machine.owesClose ? Self.undeliveredCloseBytes : 0)
        if pending != accountedBytes {
            shard.state.pendingBytes.adjust(by: pending - accountedBytes)
            accountedBytes = pending
        }
    }

    private func log(
        _ failure: DeliveryFailure,
        _ delivery: Delivery,
        level: Logger.Level,
        _ message: Logger.Message = "the app did not take an event"
    ) {
        shard.logger.log(
            level: level,
            message,
            metadata: [
                "connection": "\(id)", "client": "\(clientAddress)", "event": "\(delivery.event.kind.rawValue)",
                "event_id": "\(id)-\(delivery.sequence)", "events": "\(delivery.sequences.count)",
                "why": "\(failure.sentence)",
            ]
        )
    }
}
