import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The end of a session, from whichever side.
extension BridgeSession {
    /// Closes the client's connection by our decision or the app's.
    ///
    /// - Parameter discarding: The messages that wait have no reader any more, since the app closed or failed; else
    ///   they came in good order and are still delivered.
    /// - Parameter cause: Why; nil for what the code says by itself.
    func close(code: SessionCloseCode, reason: String, discarding: Bool = false, for cause: CloseCause? = nil) {
        if awaitsToken {
            closeTransport(code: code, reason: reason)
            return leaveUnknown(as: .auth)
        }
        guard machine.isRunning else { return }
        if discarding { context.metrics.messagesDropped(discardQueue(), reason: .closed) }
        // Before the transport, which may find the client gone when it says goodbye; a close event that fails at once
        // lets go of it.
        let transport = transport
        end(code: code, reason: reason, initiator: .server, for: cause)
        transport?.close(code: code, reason: reason)
    }

    /// Says goodbye on a transport whose session the app does not know.
    func closeTransport(code: SessionCloseCode, reason: String) { transport?.close(code: code, reason: reason) }

    /// Forgets a client that never told who it is.
    func leaveUnknown(as result: HandshakeResult) {
        context.metrics.count(result)
        releaseSlots()
        handshake = nil
        machine.refused()
        identity.token = nil
        leaveShard()
    }

    /// The client has gone, though not all that it sent has been taken.
    func clientLeft() {
        if isCounted { context.state.sessionClosed(carrier) }
        isCounted = false
    }

    func releaseSlots() {
        endPause()
        cancelIdentityTimers()
        slots.releaseAll(in: context.admission.slots)
    }

    /// Forgets the session; nothing of it is left to be delivered.
    func leaveShard() {
        context.registry.remove(self)
        transport = nil
        responder = nil
        delivery?.cancel()
        delivery = nil
    }

    /// Closes for a drain, once nothing of this session waits for the app.
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
        if machine.isRunning, machine.isQuiet { close(code: .serviceRestart, reason: "the server is restarting") }
    }

    /// The drain is over: what has not been delivered is left to the next process, or never will be.
    func abandon() {
        let isKept = machine.wasAccepted && context.state.outboxIsWritable == true
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
                level: level,
                "drain timeout: the close event was not delivered",
                metadata: [
                    "connection": "\(id)", "client": "\(clientAddress)",
                    "event_id": "\(id)-\(machine.nextSequence)",
                ]
            )
        }
        // What is on disk comes with the next start.
        if !isKept { context.metrics.messagesDropped(owed, reason: .drainTimeout) }
        let transport = transport
        if machine.isRunning {
            end(code: .serviceRestart, reason: "the server is restarting", initiator: .server)
            transport?.close(code: .serviceRestart, reason: "the server is restarting")
        } else if !machine.wasAccepted, !machine.hasEnded {
            decide(.refuse(.draining, .draining))
        }
        leaveShard()
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
            // The app has not heard of it and need not; the ticket in the queue finds nobody.
            handshake = nil
            releaseSlots()
            machine.refused()
            leaveShard()
            return
        }
        let wasRunning = isOpen
        isOpen = false
        context.channels.leaveAll(self)
        let now = NIODeadline.now()
        let age = machine.age(at: now)
        let step = machine.ended(code: code, reason: reason, initiator: initiator, at: now)
        releaseSlots()
        if wasRunning {
            clientLeft()
            let cause = cause ?? CloseCause(code: code, initiator: initiator)
            context.metrics.connectionClosed(code: code, initiator: initiator, cause: cause, carrier)
            context.metrics.connectionDuration.recordNanoseconds(age.nanoseconds)
            logEnd(code: code, reason: reason, initiator: initiator, cause: cause, age: age)
        }
        perform(step)
        accountBytes()
    }
}
