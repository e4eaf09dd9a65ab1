import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The end of a session, from any side.
extension BridgeSession {
    /// Closes the client's connection by our decision or the app's.
    ///
    /// - Parameters:
    ///   - discarding: Whether to drop the messages that wait, because the app closed or failed; otherwise they are
    ///     still delivered.
    ///   - cause: Why; nil for what the code implies.
    func close(code: SessionCloseCode, reason: String, discarding: Bool = false, for cause: CloseCause? = nil) {
        if awaitsToken {
            closeTransport(code: code, reason: reason)
            return leaveUnknown(as: .auth)
        }
        guard machine.isRunning else { return }
        if discarding { context.metrics.messagesDropped(discardQueue(), reason: .closed) }
        if cause?.leavesSession == true { passOnPosts() }
        // The session ends first, since the transport's write may show that the client has gone. A close event that
        // fails at once releases the transport.
        let transport = transport
        let cause = cause ?? CloseCause(code: code, initiator: .server)
        let delay = code.returnDelay(leavesSession: cause.leavesSession)
        let farewell = conversation?.farewell(code, returnAfter: delay) ?? []
        if !cause.leavesSession || !detachIfPossible(code: code, reason: reason, initiator: .server, cause) {
            end(code: code, reason: reason, initiator: .server, for: cause)
        }
        transport?.close(code: code, reason: reason, farewell: farewell)
    }

    /// Closes for a ban that was made after the connection was accepted, or that covers its new user.
    func closeAsBanned() {
        context.metrics.limited(.ban, action: .closed)
        close(code: .forbidden, reason: "access is denied", discarding: true, for: .ban)
    }

    /// Closes a connection that has reached `MAX_CONNECTION_AGE`.
    func closeAsAged() {
        context.metrics.limited(.maxConnectionAge, action: .closed)
        close(code: .goingAway, reason: "the connection is too old; reconnect", for: .maxAge)
    }

    /// Closes a transport whose session the app does not know.
    func closeTransport(code: SessionCloseCode, reason: String) { transport?.close(code: code, reason: reason) }

    /// Removes the session of a client that never authenticated.
    func leaveUnknown(as result: HandshakeResult) {
        context.metrics.count(result)
        releaseSlots()
        handshake = nil
        machine.refused()
        identity.token = nil
        leaveShard()
    }

    /// The client has gone, but not all of its input has been processed.
    func clientLeft() {
        if isCounted { context.state.sessionClosed(transportKind) }
        isCounted = false
    }

    func releaseSlots() {
        endPause()
        cancelIdentityTimers()
        slots.releaseAll(in: context.admission.slots)
    }

    /// Removes the session; nothing of it is left to deliver.
    ///
    /// - Parameter isLeft: Whether other nodes tell the app of its end, as they find it registered.
    func leaveShard(toOthers isLeft: Bool = false) {
        context.registry.remove(self)
        if !isLeft { context.registrations?.leave(self) }
        transport = nil
        responder = nil
        delivery?.cancel()
        delivery = nil
    }

    /// Closes for a drain, once no event of this session is in flight or waiting.
    func drain() {
        if awaitsToken {
            closeTransport(code: .serviceRestart, reason: "the server is restarting")
            return leaveUnknown(as: .draining)
        }
        if waitsForAdmission {
            delivery?.cancel()
            decideAgainst(.refuse(.draining, .draining))
            return
        }
        isDraining = true
        passOnPosts()
        guard machine.isRunning, machine.isQuiet else { return }
        if !slots.isSettled, context.state.moves != nil {
            // It is known soon whether its user counts, and then it can go.
            context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(20)) { self.drain() }
            return
        }
        if giveAway() { return }
        if let absence = conversation?.absence, transport == nil {
            return end(code: absence.code, reason: absence.reason, initiator: absence.initiator, for: absence.cause)
        }
        close(code: .serviceRestart, reason: "the server is restarting")
    }

    /// The drain has ended: undelivered events are left to the next process; of the others the close event is left to
    /// other nodes, and the rest is lost.
    func abandon() -> CloseEventFate {
        // Of a lost node's connections the others tell what this one has not.
        if registration?.whenTold != nil {
            leaveShard()
            return .left
        }
        let isKept = machine.wasAccepted && context.state.outboxIsWritable == true
        let isLeft = machine.wasAccepted && !isKept && registration?.isRegistered == true
        let level = isKept ? Logger.Level.notice : .error
        var owed = machine.discardQueue()
        var closeIsOnItsWay = false
        if let delivery, !machine.isQuiet {
            let kind = delivery.event.event.kind
            closeIsOnItsWay = kind == .close
            if kind == .message || kind == .close { owed += delivery.count }
            log(.timeout, level: level, "drain timeout: an event was not delivered")
        }
        if !closeIsOnItsWay, machine.wasAccepted {
            owed += 1
            context.log.logger.log(
                level: isLeft ? .notice : level,
                isLeft
                    ? "drain timeout: the close event is left to other nodes"
                    : "drain timeout: the close event was not delivered",
                metadata: [
                    "connection": "\(id)", "client": "\(clientAddress)",
                    "event_id": "\(prepared.eventID(machine.nextSequence))",
                ]
            )
        }
        // Events on disk are delivered after the next start.
        if !isKept { context.metrics.messagesDropped(owed - (isLeft ? 1 : 0), reason: .drainTimeout) }
        let transport = transport
        if machine.isRunning {
            let delay = SessionCloseCode.serviceRestart.returnDelay(leavesSession: false)
            let farewell = conversation?.farewell(.serviceRestart, returnAfter: delay) ?? []
            end(code: .serviceRestart, reason: "the server is restarting", initiator: .server)
            transport?.close(code: .serviceRestart, reason: "the server is restarting", farewell: farewell)
        } else if !machine.wasAccepted, !machine.hasEnded {
            machine.refused()
            decide(.refuse(.draining, .draining))
        }
        leaveShard(toOthers: isLeft)
        return isKept ? .kept : isLeft ? .left : .lost
    }

    func end(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        for cause: CloseCause? = nil
    ) {
        guard !machine.hasEnded else { return }
        if awaitsToken { return leaveUnknown(as: .auth) }
        if waitsForAdmission {
            // The app has not been called and need not be; the ticket in the queue is ignored.
            handshake = nil
            releaseSlots()
            machine.refused()
            leaveShard()
            return
        }
        let wasRunning = isOpen
        isOpen = false
        resumeAttempt?.timer.cancel(in: context.timers)
        resumeAttempt = nil
        if conversation?.absence != nil { context.state.detachedSessions.adjust(by: -1) }
        conversation?.end()
        context.channels.leaveAll(self)
        let now = NIODeadline.now()
        let age = machine.age(at: now)
        let step = machine.ended(code: code, reason: reason, initiator: initiator, at: now)
        releaseSlots()
        if wasRunning {
            clientLeft()
            let cause = cause ?? CloseCause(code: code, initiator: initiator)
            context.metrics.connectionClosed(code: code, initiator: initiator, cause: cause, transportKind)
            context.metrics.connectionDuration.recordNanoseconds(age.nanoseconds)
            logEnd(code: code, reason: reason, initiator: initiator, cause: cause, age: age)
        }
        perform(step)
        accountBytes()
    }
}

extension SessionCloseCode {
    /// After how many milliseconds a client should connect again that is closed with this code; nil for not at all. It
    /// is random, so that not all clients come back at once.
    ///
    /// - Parameter leavesSession: Whether its session waits for it.
    func returnDelay(leavesSession: Bool) -> Int64? {
        switch self {
        case .policyViolation: leavesSession ? .random(in: 1_000...5_000) : nil
        case .goingAway, .internalError, .gap: .random(in: 0...1_000)
        case .serviceRestart: .random(in: 0...5_000)
        case .tryAgainLater, .tooManyRequests: .random(in: 5_000...15_000)
        case .unauthorized, .resumeTimeout: 0
        default: nil
        }
    }
}
