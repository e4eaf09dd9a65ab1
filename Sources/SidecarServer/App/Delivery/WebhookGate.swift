import CoreMetrics
import Logging
import NIOCore
import SidecarCore
import Synchronization

/// Limits calls to the app over all event loops (`WEBHOOK_MAX_IN_FLIGHT`), with breakers and health of its addresses:
/// first come, first served, with lanes of their own for handshakes and closes.
///
/// All of its mutable state is behind its lock. It is not final so that a test can put one of its own in its place.
class WebhookGate: @unchecked Sendable {
    /// How many handshakes may wait for their turn; each needs some kilobytes of memory.
    static let maxWaitingHandshakes = 10_000

    /// The result of asking for a call.
    enum Answer {
        /// Call this address.
        case granted(address: Int)
        /// Wait with this ticket.
        case queued(WebhookTicket)
        /// Too many handshakes wait already.
        case full
        /// No address can be called now.
        case unavailable
    }

    private struct State: @unchecked Sendable {
        var dispatcher: CallDispatcher<WebhookTicket>
        /// The earliest scheduled wake-up; nil when there is none.
        var wakeAt: NIODeadline?
        var isStopped = false
    }

    private let state: Mutex<State>
    private let names: [String]
    private let logger: Logger

    /// - Parameter addresses: The names of the addresses in logs and metrics.
    init(addresses: [String], capacity: Int, logger: Logger) {
        names = addresses
        self.logger = logger
        state = Mutex(
            State(
                dispatcher: CallDispatcher(
                    addresses: addresses.count,
                    capacity: capacity,
                    maxWaitingHandshakes: Self.maxWaitingHandshakes,
                    isAlive: { $0.caller != nil },
                    refusedBy: { $0.refusedBy }
                )
            )
        )
    }

    var inUse: Int { state.withLock { $0.dispatcher.inUse } }
    var queueDepth: Int { state.withLock { $0.dispatcher.queueDepth } }
    /// True when every address is known to fail and none is being probed.
    var isEveryAddressFailing: Bool { state.withLock { $0.dispatcher.isEveryAddressFailing } }
    /// True when this address can be called, permits aside.
    func admits(_ address: Int) -> Bool {
        state.withLock { state in
            guard state.dispatcher.addresses.indices.contains(address) else { return false }
            let one = state.dispatcher.addresses[address]
            return !one.isDown && one.breaker.state == .closed
        }
    }

    /// The addresses with their breakers, for health and metrics.
    var addresses: [AppAddressStatus] {
        let now = state.withLock { $0.dispatcher.addresses }
        return zip(names, now).map { name, address in
            AppAddressStatus(
                name: name,
                breaker: address.breaker.state,
                inFlight: address.inFlight,
                isDown: address.isDown
            )
        }
    }

    /// Takes a permit at once, or queues the caller, which is then called with
    /// ``WebhookCaller/permitGranted(_:address:)``.
    ///
    /// - Parameter refused: Addresses that are called only if no other can be.
    func acquire(
        _ lane: PermitLane,
        for caller: any WebhookCaller,
        otherThan refused: Set<Int> = [],
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) -> Answer {
        var ticket: WebhookTicket?
        func makeTicket() -> WebhookTicket {
            let made = WebhookTicket(lane: lane, eventLoop: eventLoop, refusedBy: refused, caller: caller)
            ticket = made
            return made
        }
        switch state.withLock({ $0.dispatcher.acquire(lane, at: now, otherThan: refused, orWaitWith: makeTicket()) }) {
        case .granted(let address): return .granted(address: address)
        case .full: return .full
        case .unavailable: return .unavailable
        case .queued:
            guard let ticket else { return .full }  // nil only if nothing could be queued
            grantAll(at: now)
            scheduleWake(on: eventLoop)
            return .queued(ticket)
        }
    }

    /// Gives up a position in the queue; a turn that has already been granted returns its permit.
    func giveUp(_ ticket: WebhookTicket) {
        state.withLock { state in
            guard ticket.caller != nil else { return }
            ticket.caller = nil
            state.dispatcher.gaveUp(ticket.lane)
        }
    }

    /// Schedules no more wake-ups: the process ends.
    func stop() {
        state.withLock { $0.isStopped = true }
    }

    /// Returns a permit; the ticket that has waited longest gets it, on its own loop.
    func release(
        _ lane: PermitLane,
        address: Int,
        _ outcome: CircuitBreaker.Outcome,
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) {
        let (change, next, othersWait) = state.withLock { state in
            let change = state.dispatcher.ended(lane, address: address, outcome, at: now)
            let next = Self.next(in: &state, at: now)
            return (change, next, state.dispatcher.queueDepth > 0)
        }
        if let change { log(change, address) }
        if let next {
            grant(next)
            grantAll(at: now)
        }
        if othersWait { scheduleWake(on: eventLoop) }
    }

    /// Records the result of a health check.
    func noteHealth(address: Int, isDown: Bool, on eventLoop: any EventLoop) {
        guard state.withLock({ $0.dispatcher.noteHealth(address: address, isDown: isDown) }) else { return }
        logger.warning(
            isDown ? "health check failed" : "health check passed again",
            metadata: ["address": "\(name(of: address))"]
        )
        grantAll(at: eventLoop.now)
        scheduleWake(on: eventLoop)
    }

    // MARK: Those who wait

    /// A ticket whose turn has come.
    private struct Grant: @unchecked Sendable {
        let ticket: WebhookTicket
        let caller: any WebhookCaller
        let address: Int
    }

    private static func next(in state: inout State, at now: NIODeadline) -> Grant? {
        guard let (ticket, address) = state.dispatcher.next(at: now), let caller = ticket.caller else { return nil }
        ticket.caller = nil
        return Grant(ticket: ticket, caller: caller, address: address)
    }

    private func grantAll(at now: NIODeadline) {
        while let next = state.withLock({ Self.next(in: &$0, at: now) }) { grant(next) }
    }

    private func grant(_ next: Grant) {
        // Never called directly: a long queue would add one stack frame per caller.
        next.ticket.eventLoop.execute { next.caller.permitGranted(next.ticket, address: next.address) }
    }

    /// While a breaker is open no call ends, so a wake-up is needed when its pause is over.
    private func scheduleWake(on eventLoop: any EventLoop) {
        let wakeAt: NIODeadline? = state.withLock { state in
            guard !state.isStopped, let at = state.dispatcher.wakeAt(after: eventLoop.now) else { return nil }
            if let planned = state.wakeAt, planned <= at { return nil }
            state.wakeAt = at
            return at
        }
        guard let wakeAt else { return }
        eventLoop.scheduleTask(deadline: wakeAt) {
            self.state.withLock { if $0.wakeAt == wakeAt { $0.wakeAt = nil } }
            self.grantAll(at: eventLoop.now)
            self.scheduleWake(on: eventLoop)
        }
    }

    private func name(of address: Int) -> String {
        names.indices.contains(address) ? names[address] : "?"
    }

    private func log(_ change: CircuitBreaker.Change, _ address: Int) {
        switch change {
        case .opened:
            logger.error(
                "circuit breaker opened: the app is failing; events wait",
                metadata: ["address": "\(name(of: address))"]
            )
        case .closed:
            logger.notice(
                "circuit breaker closed: the app has recovered",
                metadata: ["address": "\(name(of: address))"]
            )
        }
    }
}
