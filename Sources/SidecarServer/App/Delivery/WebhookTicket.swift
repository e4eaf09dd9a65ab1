import NIOCore
import SidecarCore

/// Waits with an event for its turn to call the app.
protocol WebhookCaller: AnyObject {
    /// It is this ticket's turn to call the address; the permit is held until `WebhookGate.release`.
    func permitGranted(_ ticket: WebhookTicket, address: Int)
}

/// A position in the queue of the gate; its mutable state is guarded by the gate's lock.
final class WebhookTicket: @unchecked Sendable {
    let lane: PermitLane
    let eventLoop: any EventLoop
    /// Addresses that have just refused the connection.
    let refusedBy: Set<Int>
    /// Nil once it has given up or been granted its turn. The caller is used on its own loop only.
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
