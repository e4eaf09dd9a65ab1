import NIOCore
import SidecarCore

/// The sessions of one event loop that have stopped reading because `MAX_TOTAL_PENDING_BYTES` is reached.
final class PendingBudgetQueue {
    private static let interval = TimeAmount.milliseconds(20)

    private let budget: SharedBudget
    private let eventLoop: any EventLoop
    private var waiting: [BridgeSession] = []
    private var checks = 0

    init(budget: SharedBudget, eventLoop: any EventLoop) {
        self.budget = budget
        self.eventLoop = eventLoop
    }

    func append(_ session: BridgeSession) {
        waiting.append(session)
        if waiting.count == 1 { scheduleCheck() }
    }

    /// Other loops do not notify this one when they return bytes, so it checks while a session waits.
    private func scheduleCheck() {
        eventLoop.assumeIsolated().scheduleTask(in: Self.interval) {
            if !self.budget.isSpent {
                let waiting = self.waiting
                self.waiting = []
                for session in waiting { session.budgetMayBeFree() }
            }
            self.checks &+= 1
            if self.checks % 16 == 0 {
                for session in self.waiting { session.lookForInput() }
            }
            if !self.waiting.isEmpty { self.scheduleCheck() }
        }
    }
}
