import NIOCore
import SidecarCore

/// How long a message may take to arrive, and what its parts hold until then.
struct AssemblyWatch {
    /// When the message under way has taken too long; nil while there is none.
    private(set) var deadline: NIODeadline?
    /// What its parts hold in `MAX_TOTAL_PENDING_BYTES`.
    var share = BudgetShare()

    /// Events have been taken.
    ///
    /// - Parameter restarted: The message under way is another than before.
    /// - Returns: True when there is another deadline.
    mutating func update(
        isAssembling: Bool,
        restarted: Bool,
        timeout: TimeAmount,
        now: @autoclosure () -> NIODeadline
    ) -> Bool {
        guard isAssembling else {
            deadline = nil
            return false
        }
        guard deadline == nil || restarted else { return false }
        deadline = now() + timeout
        return true
    }

    /// True when the message has taken too long; it gets the time anew when it is us who do not read.
    mutating func isOverdue(at now: NIODeadline, isReading: Bool, timeout: TimeAmount) -> Bool {
        guard let deadline, now >= deadline else { return false }
        self.deadline = isReading ? nil : now + timeout
        return isReading
    }
}
