import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The handshake: whether and when the app is asked, and what becomes of its answer.
extension BridgeSession {
    func openCompleted(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome) {
        switch outcome {
        case .failure(.connect) where triesOtherAddress():
            break
        case .failure(let failure):
            log(failure, event, level: .warning)
            decideAgainst(.fail(failure))
        case .success(let (head, body)):
            guard (200..<300).contains(head.status) else {
                logRefused(status: head.status)
                decideAgainst(.relay(head, body))
                return
            }
            let reply = answer(head, body)
            journalOpened(by: try? reply.get())
            afterJournal { self.opened(by: head, reply, event, at: $0) }
        }
    }

    private func answer(_ head: HTTPReplyHead, _ body: ByteBuffer) -> Result<SessionReply, DeliveryFailure> {
        Result { () throws(DeliveryFailure) in try checked(try shard.configuration.dialect.decode(head, body)) }
    }

    /// True while the handshake waits for its turn and the app has not heard of it.
    var waitsForAdmission: Bool {
        guard ticket != nil, underWay?.kind == .open else { return false }
        return true
    }

    /// The handshake has waited for its turn as long as it may.
    func admissionTimedOut() {
        if waitsForAdmission { turnAway(limit: "handshake_timeout", .timeout) }
    }

    /// Sends a client away that the app has not heard of; it may come again when fewer are connecting.
    func turnAway(limit: String, _ result: HandshakeResult) {
        leaveQueue()
        shard.metrics.limited(limit, action: "refused")
        noteRefused(result == .appFailed ? .breaker : .handshakeQueue)
        decideAgainst(
            .refuse(
                Refusal(
                    status: 503,
                    sentence: result == .appFailed
                        ? "The application is not available." : "Too many clients are connecting; try again later.",
                    reason: result.rawValue,
                    retryAfter: ServerConfiguration.retryAfter()
                ),
                result
            )
        )
    }

    /// No connection came up, so the app saw nothing: another address may take the handshake, once for each.
    private func triesOtherAddress() -> Bool {
        guard let underWay, underWay.failures + 1 < shard.configuration.settings.webhookOrigins.count else {
            return false
        }
        underWay.failures += 1
        underWay.refusedBy.insert(underWay.address)
        shard.metrics.open.retries.increment()
        attempt(at: .now())
        return true
    }

    func decideAgainst(_ decision: HandshakeDecision) {
        machine.refused()
        releaseSlots()
        handshake = nil
        transport?.handshakeDecided(decision)
        leaveShard()
    }

    private func opened(
        by head: HTTPReplyHead,
        _ answer: Result<SessionReply, DeliveryFailure>,
        _ event: EventUnderWay,
        at now: NIODeadline
    ) {
        underWay = nil
        let step = machine.accepted(at: now)
        handshake = nil
        let reply: SessionReply
        do throws(DeliveryFailure) {
            reply = try answer.get()
        } catch {
            // The app thinks that it has accepted, so it hears of the end.
            log(error, event, level: .warning)
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
        if let user = reply.user, !user.isEmpty, user != self.user, !takeSlot(ofUser: user) {
            transport?.handshakeDecided(
                .refuse(
                    .tooManyConnections(of: "user", limit: shard.configuration.settings.maxConnectionsPerUser),
                    .connectionLimit
                )
            )
            performLast(step, code: 1006)
            return
        }
        shard.state.sessionOpened(carrier)
        isOpen = true
        isCounted = true
        shard.metrics.connectionOpened(carrier)
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
                close(code: 4403, reason: "access is denied", discarding: true, for: .ban)
            }
            if shard.state.isDraining { drain() }
        }
    }

    /// Ends a session that never became a WebSocket.
    private func performLast(_ step: SessionStateMachine.Step, code: UInt16) {
        journalIdentity()  // the answer that would have changed it is not applied
        if case .deliver = step {
            perform(step)
        } else {
            end(code: code, reason: "", initiator: .server)
        }
    }
}
