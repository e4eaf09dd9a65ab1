/// The bytes that one connection holds of a budget of the process.
struct BudgetShare: Sendable {
    private(set) var bytes = 0

    /// Returns what is to be added to the budget.
    mutating func change(to bytes: Int) -> Int {
        defer { self.bytes = bytes }
        return bytes - self.bytes
    }
}
