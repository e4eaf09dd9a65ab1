import NIOCore
import SidecarCore

/// How long a message may take to arrive, and what its parts hold until then.
struct AssemblyWatch {
    /// When the message that is arriving has taken too long; nil while there is none.
    private(set) var deadline: NIODeadline?
    /// What its parts hold in `MAX_TOTAL_PENDING_BYTES`.
    var share = BudgetShare()

    /// Updates the deadline after events have been taken.
    ///
    /// - Parameter restarted: The message that is arriving is another than before.
    /// - Returns: True when the deadline has changed.
    mutating func update(isAssembling: Bool, restarted: Bool, timeout: TimeAmount, at now: NIODeadline) -> Bool {
        guard isAssembling else {
            deadline = nil
            return false
        }
        guard deadline == nil || restarted else { return false }
        deadline = now + timeout
        return true
    }

    /// True when the message has taken too long; it gets the time again when it is us who do not read.
    mutating func isOverdue(at now: NIODeadline, isReading: Bool, timeout: TimeAmount) -> Bool {
        guard let deadline, now >= deadline else { return false }
        self.deadline = isReading ? nil : now + timeout
        return isReading
    }
}
