import NIOCore
import SidecarCore
import Synchronization

/// Somebody with an event for the app, waiting for the turn to call it.
protocol WebhookCaller: AnyObject {
    /// The turn has come; the permit is held until `WebhookGate.release()`.
    func permitGranted()
}

/// `WEBHOOK_MAX_IN_FLIGHT` over all event loops: first come, first served, handshakes apart from the rest.
final class WebhookGate: Sendable {
    /// A place in the queue. Only its own loop touches the caller.
    private struct Ticket: @unchecked Sendable {
        let eventLoop: any EventLoop
        let caller: any WebhookCaller
    }

    private let permits: Mutex<FairPermits<Ticket>>

    /// Handshakes that may wait for their turn at once; their memory is some kilobytes each.
    static let maxWaitingHandshakes = 10_000

    init(capacity: Int) {
        permits = Mutex(FairPermits(capacity: capacity, maxWaitingHandshakes: Self.maxWaitingHandshakes))
    }

    var inUse: Int { permits.withLock { $0.inUse } }
    var queueDepth: Int { permits.withLock { $0.queueDepth } }

    /// Takes a permit at once, or queues the caller, who then hears from ``WebhookCaller/permitGranted()``.
    func acquire(
        _ lane: PermitLane,
        for caller: any WebhookCaller,
        on eventLoop: any EventLoop
    ) -> PermitAnswer {
        let ticket = Ticket(eventLoop: eventLoop, caller: caller)
        return permits.withLock { $0.acquire(lane, orWaitWith: ticket) }
    }

    /// Gives a permit back; the caller who has waited longest gets it on its own loop.
    func release(_ lane: PermitLane) {
        guard let next = permits.withLock({ $0.release(lane) }) else { return }
        // Never in line: a long queue would grow the stack by one call per caller.
        next.eventLoop.execute { next.caller.permitGranted() }
    }
}
