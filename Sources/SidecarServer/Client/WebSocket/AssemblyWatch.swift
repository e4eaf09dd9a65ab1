import NIOCore
import SidecarCore

/// How long a message may take to arrive, and what its parts hold until then.
struct AssemblyWatch {
    /// When the message that is arriving has taken too long; nil while there is none.
    var deadline: NIODeadline?
    /// What its parts hold in `MAX_TOTAL_PENDING_BYTES`.
    var share = BudgetShare()

    /// True when the message has taken too long; it gets the time again when it is us who do not read.
    mutating func isOverdue(at now: NIODeadline, isReading: Bool, timeout: TimeAmount) -> Bool {
        guard let deadline, now >= deadline else { return false }
        self.deadline = isReading ? nil : now + timeout
        return isReading
    }
}
