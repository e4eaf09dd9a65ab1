import SidecarCore

/// What keeps one session from taking more of its input: a rate, or what waits for the app.
struct SessionBackPressure {
    /// What a session costs whose client has gone and whose close event is not delivered yet, in bytes; so many closes
    /// that nobody takes fill the budget, and no more clients are let in.
    private static let undeliveredCloseBytes = 2048

    /// The pause that a rate has led to.
    var throttle: SessionThrottle?
    /// What waits for the app, in the budget of the process.
    private var pending = BudgetShare()
    /// True while it waits for the budget.
    var waitsForBudget = false
    /// True while nobody has been told that something waits for the budget.
    var isBudgetWaitUncounted = false

    /// True while a rate keeps it from taking more.
    var isThrottled: Bool { throttle != nil }
    /// Bytes that count against the budget.
    var pendingBytes: Int { pending.bytes }

    /// What it holds of the budget goes to another session.
    mutating func move() -> BudgetShare {
        defer { pending = BudgetShare() }
        return pending
    }

    mutating func adopt(_ share: BudgetShare) { pending = share }

    /// Returns what is to be added to the budget.
    mutating func account(pendingBytes: Int, owesClose: Bool) -> Int {
        pending.change(to: pendingBytes + (owesClose ? Self.undeliveredCloseBytes : 0))
    }
}
