import CoreMetrics
import Logging
import NIOCore
import SidecarCore
import Synchronization

/// `WEBHOOK_MAX_IN_FLIGHT`, breakers and health of the app's addresses, over all event loops: first come, first
/// served, handshakes apart from the rest.
final class WebhookGate: Sendable {
    /// Handshakes that may wait for their turn at once; their memory is some kilobytes each.
    static let maxWaitingHandshakes = 10_000

    /// What became of asking for a call.
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
        /// The earliest moment at which somebody will look; nil when nobody will.
        var wakeAt: NIODeadline?
        var isStopped = false
    }

    private let state: Mutex<State>
    private let names: [String]
    private let logger: Logger

    /// - Parameter addresses: How the addresses are called in logs and metrics.
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
    /// True when every address is known to fail and none is being tried.
    var isHopeless: Bool { state.withLock { $0.dispatcher.isHopeless } }
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

    /// Takes a permit at once, or queues the caller, who then hears from ``WebhookCaller/permitGranted(_:address:)``.
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
            guard let ticket else { return .full }  // it was made, or nothing could be queued
            grantAll(at: now)
            scheduleWake(on: eventLoop)
            return .queued(ticket)
        }
    }

    /// Gives up a place in the queue; a turn that has come already finds nobody and gives its permit back.
    func giveUp(_ ticket: WebhookTicket) {
        state.withLock { state in
            guard ticket.caller != nil else { return }
            ticket.caller = nil
            state.dispatcher.gaveUp(ticket.lane)
        }
    }

    /// Nobody waits any more: the process ends.
    func stop() {
        state.withLock { $0.isStopped = true }
    }

    /// Gives a permit back; whoever has waited longest gets it on their own loop.
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

    /// A health check came out so.
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

    /// Somebody whose turn has come.
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
        // Never in line: a long queue would grow the stack by one call per caller.
        next.ticket.eventLoop.execute { next.caller.permitGranted(next.ticket, address: next.address) }
    }

    /// While a breaker is open no call ends, so somebody has to look when its pause is over.
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
