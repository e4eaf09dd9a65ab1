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

    func perform(_ step: SessionStateMachine.Step) {
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
    func attempt(at now: NIODeadline) {
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
        guard ticket != nil, let delivery = underWay?.delivery else { return }
        // Others come first, or somebody finds out right now whether the app is well.
        if !shard.state.gate.isHopeless { return watchWait() }
        leaveQueue()
        gaveUp(delivery, .connect("No address of it can be called."))
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
        underWay?.failures += 1
        if attempt.failures == 0 { log(failure, attempt.delivery, level: .debug, "an event is tried again") }
        retryTimer.arm(in: shard.timers, at: now + delay) { [weak self] now in
            guard let self, let kind = self.underWay?.kind else { return }
            self.shard.metrics.webhook(for: kind).retries.increment()
            self.attempt(at: now)
        }
        return true
    }
}
