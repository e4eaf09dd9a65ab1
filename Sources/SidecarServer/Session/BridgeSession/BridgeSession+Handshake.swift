import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The handshake: whether and when the app is called, and what follows from its reply.
extension BridgeSession {
    func openEnded(_ result: WebhookResult) {
        switch result {
        case .taken(let head, let reply):
            let facts = identity.facts
            let record = handshake?.record ?? []
            journal?.opened(record, identity: (try? reply.get()).map(facts.marked) ?? facts)
            afterJournal { now in
                self.context.channels.whenHeld((try? reply.get())?.channels(after: [], limit: .max) ?? []) {
                    self.countUser(of: try? reply.get()) { isAllowed in
                        self.opened(by: head, reply, isUserAllowed: isAllowed, at: now)
                    }
                }
            }
        case .refused(let head, let body):
            logRefused(status: head.status)
            decideAgainst(.relay(head, body))
        case .failed(let failure):
            log(failure, level: .warning)
            decideAgainst(.fail(failure))
        case .turnedAway(.queueFull): turnAway(limit: .handshakeQueue, .connectionLimit)
        case .turnedAway(.unavailable): turnAway(limit: .breaker, .appFailed)
        }
    }

    /// True while the handshake waits for its turn and the app has not been called.
    var waitsForAdmission: Bool {
        handshake != nil && (delivery?.isWaiting == true || registration?.isEntering == true)
    }

    /// The handshake has waited for its turn as long as it may.
    func admissionTimedOut() {
        if waitsForAdmission { turnAway(limit: .handshakeTimeout, .timeout) }
    }

    /// Refuses a client before the app has been called; it may try again when fewer clients are connecting.
    func turnAway(limit: Limit, _ result: HandshakeResult) {
        delivery?.cancel()
        context.metrics.limited(limit, action: .refused)
        noteRefused(result == .appFailed ? .breaker : .handshakeQueue)
        decideAgainst(
            .refuse(
                Refusal(
                    status: 503,
                    sentence: result == .appFailed
                        ? "The application is not available." : "Too many clients are connecting; try again later.",
                    reason: RefusalReason(turnedAway: result),
                    retryAfter: ServerConfiguration.retryAfter()
                ),
                result
            )
        )
    }

    func decide(_ decision: HandshakeDecision) {
        let responder = responder
        self.responder = nil
        responder?.handshakeDecided(decision)
    }

    func decideAgainst(_ decision: HandshakeDecision) {
        machine.refused()
        releaseSlots()
        handshake = nil
        decide(decision)
        leaveShard()
    }

    private func opened(
        by head: HTTPReplyHead,
        _ answer: Result<SessionReply, DeliveryFailure>,
        isUserAllowed: Bool,
        at now: NIODeadline
    ) {
        guard delivery != nil else { return }  // the drain has ended while the journal was written
        let step = machine.accepted(at: now)
        handshake = nil
        let reply: SessionReply
        do throws(DeliveryFailure) {
            reply = try answer.get()
        } catch {
            // For the app the connection is accepted, so it gets a close event.
            log(error, level: .warning)
            delivery = nil
            decide(.fail(error))
            performLast(step, code: .abnormal)
            return
        }
        delivery = nil
        guard machine.isRunning else {
            perform(step)  // the client has gone meanwhile: delivers its close event
            accountBytes()
            return
        }
        if let user = reply.user, context.admission.bans.covers(user: user) {
            context.metrics.limited(.ban, action: .refused)
            decide(.refuse(HandshakeRejection.banned.refusal, .auth))
            performLast(step, code: .abnormal)
            return
        }
        let isUserAllowed =
            isUserAllowed
            && (reply.user.map { $0.isEmpty || $0 == self.user || takeSlot(ofUser: $0) } ?? true)
        if !isUserAllowed {
            decide(
                .refuse(
                    .tooManyConnections(of: .user, limit: context.settings.maxConnectionsPerUser),
                    .connectionLimit
                )
            )
            performLast(step, code: .abnormal)
            return
        }
        context.state.sessionOpened(transportKind)
        isOpen = true
        isCounted = true
        context.metrics.connectionOpened(transportKind)
        // Before the client is told, so that it gets what is published from then on. Nothing can be delivered in
        // between, since that takes a turn of the loop.
        joinChannels(of: reply)
        decide(.accept(head))
        perform(step)
        if machine.isRunning {
            if resumeAttempt == nil { conversation?.begin(.init()) } else { conversationAwaitsPositions() }
            identitySettled()
            apply(reply)
            if context.admission.bans.covers(IPAddress(clientAddress)) || context.admission.bans.covers(user: user) {
                // The ban was made while the app decided.
                closeAsBanned()
            }
            if context.state.isDraining { drain() }
        }
    }

    /// Ends a session that never became a WebSocket.
    private func performLast(_ step: SessionStateMachine.Step, code: SessionCloseCode) {
        journalIdentity()  // the reply that would have changed it is not applied
        if case .deliver = step {
            perform(step)
        } else {
            end(code: code, reason: "", initiator: .server)
        }
    }
}
