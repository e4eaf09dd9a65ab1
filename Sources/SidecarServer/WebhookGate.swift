import CoreMetrics
import Logging
import NIOCore
public import SidecarCore
import Synchronization

/// Somebody with an event for the app, waiting for the turn to call it.
protocol WebhookCaller: AnyObject {
    /// The turn has come to call this address; the permit is held until `WebhookGate.release`.
    func permitGranted(address: Int)
}

/// `WEBHOOK_MAX_IN_FLIGHT`, breakers and health of the app's addresses, over all event loops: first come, first
/// served, handshakes apart from the rest.
final class WebhookGate: Sendable {
    /// Handshakes that may wait for their turn at once; their memory is some kilobytes each.
    static let maxWaitingHandshakes = 10_000

    /// A place in the queue. Only its own loop touches the caller.
    private struct Ticket: @unchecked Sendable {
        let eventLoop: any EventLoop
        let caller: any WebhookCaller
    }

    private struct State {
        var dispatcher: CallDispatcher<Ticket>
        var isWakeScheduled = false
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
                    maxWaitingHandshakes: Self.maxWaitingHandshakes
                )
            )
        )
    }

    var inUse: Int { state.withLock { $0.dispatcher.inUse } }
    var queueDepth: Int { state.withLock { $0.dispatcher.queueDepth } }
    /// True when an address can be called, permits aside.
    var hasAddress: Bool { state.withLock { $0.dispatcher.hasAddress(at: .now()) } }
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

    /// Takes a permit at once, or queues the caller, who then hears from ``WebhookCaller/permitGranted(address:)``.
    func acquire(
        _ lane: PermitLane,
        for caller: any WebhookCaller,
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) -> CallAnswer {
        let ticket = Ticket(eventLoop: eventLoop, caller: caller)
        let answer = state.withLock { $0.dispatcher.acquire(lane, at: now, orWaitWith: ticket) }
        if case .queued = answer { scheduleWake(on: eventLoop) }
        return answer
    }

    /// Gives a permit back; whoever has waited longest gets it on their own loop.
    func release(
        _ lane: PermitLane,
        address: Int,
        _ outcome: CircuitBreaker.Outcome,
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) {
        let (change, next) = state.withLock { state in
            (state.dispatcher.ended(lane, address: address, outcome, at: now), state.dispatcher.next(at: now))
        }
        if let change { log(change, address) }
        if let next {
            grant(next)
            grantAll(at: now)
        }
        if outcome == .failure { scheduleWake(on: eventLoop) }
    }

    /// A health check came out so.
    func noteHealth(address: Int, isDown: Bool, on eventLoop: any EventLoop) {
        guard state.withLock({ $0.dispatcher.noteHealth(address: address, isDown: isDown) }) else { return }
        logger.warning(
            isDown ? "the app's health check fails" : "the app's health check passes again",
            metadata: ["address": "\(name(of: address))"]
        )
        grantAll(at: .now())
    }

    // MARK: Those who wait

    private func grantAll(at now: NIODeadline) {
        while let next = state.withLock({ $0.dispatcher.next(at: now) }) { grant(next) }
    }

    private func grant(_ next: (ticket: Ticket, address: Int)) {
        // Never in line: a long queue would grow the stack by one call per caller.
        next.ticket.eventLoop.execute { next.ticket.caller.permitGranted(address: next.address) }
    }

    /// While a breaker is open no call ends, so somebody has to look when its pause is over.
    private func scheduleWake(on eventLoop: any EventLoop) {
        let wakeAt: NIODeadline? = state.withLock { state in
            guard !state.isWakeScheduled, let at = state.dispatcher.wakeAt else { return nil }
            state.isWakeScheduled = true
            return at
        }
        guard let wakeAt else { return }
        eventLoop.scheduleTask(deadline: wakeAt) {
            self.state.withLock { $0.isWakeScheduled = false }
            self.grantAll(at: .now())
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
                "breaker opened: the app fails, events wait",
                metadata: ["address": "\(name(of: address))"]
            )
        case .closed:
            logger.notice("breaker closed: the app is well again", metadata: ["address": "\(name(of: address))"])
        }
    }
}

/// An address of the app as health checks and scrapes see it.
public struct AppAddressStatus: Sendable {
    /// The address as it was configured.
    public let name: String
    /// Its breaker.
    public let breaker: CircuitBreaker.State
    /// Calls under way.
    public let inFlight: Int
    /// Whether its health check fails.
    public let isDown: Bool
}
