import NIOCore
import SidecarCore

/// Somebody with an event for the app, waiting for the turn to call it.
protocol WebhookCaller: AnyObject {
    /// The turn of this ticket has come to call this address; the permit is held until `WebhookGate.release`.
    func permitGranted(_ ticket: WebhookTicket, address: Int)
}

/// A place in the queue of the gate; what changes in it is guarded by the gate's lock.
final class WebhookTicket: @unchecked Sendable {
    let lane: PermitLane
    let eventLoop: any EventLoop
    /// Addresses that have just refused it.
    let refusedBy: Set<Int>
    /// Nil once it has given up, or its turn has come. Only its own loop touches the caller.
    var caller: (any WebhookCaller)?

    init(
        lane: PermitLane,
        eventLoop: any EventLoop,
        refusedBy: Set<Int>,
        caller: any WebhookCaller
    ) {
        self.lane = lane
        self.refusedBy = refusedBy
        self.eventLoop = eventLoop
        self.caller = caller
    }
}
