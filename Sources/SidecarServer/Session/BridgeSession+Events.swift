import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The way of an event to the app: its turn, its call, and calls again after failures.
extension BridgeSession {
    func permitGranted(_ ticket: WebhookTicket, address: Int) {
        let now = NIODeadline.now()
        guard self.ticket === ticket else {
            // It gave up its place: the client has gone, or has waited too long.
            shard.state.gate.release(ticket.lane, address: address, .neutral, on: shard.eventLoop, at: now)
            return
        }
        self.ticket = nil
        retryTimer.cancel(in: shard.timers)
        underWay?.call(address: address, at: now)
    }

    /// Writes the request of an event.
    func writeRequest(of event: EventUnderWay, into buffer: inout ByteBuffer) {
        let dialect = shard.configuration.dialect
        let signedAt = dialect.isSigned ? WallClock.unixMilliseconds() / 1000 : 0
        if event.kind == .open, let handshake {
            dialect.encodeOpen(
                handshake,
                of: prepared,
                id: id,
                identity: identity,
                unixMilliseconds: event.happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        } else {
            dialect.encode(
                event.delivery,
                of: prepared,
                id: id,
                identity: identity,
                unixMilliseconds: event.happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        }
    }

    /// The app has answered an event, or an attempt has failed.
    func completed(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome) {
        guard event === underWay else { return }
        let before = effects(before: event)
        switch event.kind {
        case .open: openCompleted(event, outcome)
        case .message: messageCompleted(event, outcome)
        case .revalidate: revalidationCompleted(event, outcome)
        case .close: closeCompleted(event, outcome)
        }
        log(event, outcome, since: before)
    }

    /// - Parameter now: The time, if the caller knows it.
    func perform(_ step: consuming SessionStateMachine.Step, at now: NIODeadline? = nil) {
        switch consume step {
        case .wait:
            break
        case .deliver(let delivery):
            let event = EventUnderWay(consume delivery, of: self)
            underWay = event
            if event.kind == .close, case .close(let report) = event.delivery.event {
                event.happenedAt = recoveredCloseTime ?? event.happenedAt
                journalClosing(event.delivery.sequence, report, event.happenedAt)
            }
            if event.kind == .open {
                attempt(at: now ?? .now())
            } else {
                afterJournal(at: now) { self.attempt(at: $0) }
            }
        case .finish:
            leaveShard()
        }
    }

    /// Asks for a permit, for the first time or again.
    func attempt(at now: NIODeadline) {
        guard let underWay else { return }
        underWay.asked(at: now)
        switch shard.state.gate.acquire(
            underWay.lane,
            for: self,
            otherThan: underWay.refusedBy,
            on: shard.eventLoop,
            at: now
        ) {
        case .granted(let address): underWay.call(address: address, at: now)
        case .queued(let ticket):
            self.ticket = ticket
            if !waitsForAdmission { watchWait() }
        case .full: turnAway(limit: "handshake_queue", .connectionLimit)
        case .unavailable: turnAway(limit: "breaker", .appFailed)
        }
    }

    func leaveQueue() {
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
        guard ticket != nil, let underWay else { return }
        // Others come first, or somebody finds out right now whether the app is well.
        if !shard.state.gate.isHopeless { return watchWait() }
        leaveQueue()
        gaveUp(underWay, .connect("the circuit breaker is open on every address."))
    }

    /// Tries the event again later if there is time for it.
    func retries(_ failure: DeliveryFailure, retryAfter: TimeAmount?) -> Bool {
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
        attempt.failures += 1
        if case .connect = failure { attempt.refusedBy = [attempt.address] }
        retryTimer.arm(in: shard.timers, at: now + delay) { [weak self] now in
            guard let self, let underWay = self.underWay else { return }
            underWay.metrics.retries.increment()
            self.attempt(at: now)
        }
        return true
    }
}
