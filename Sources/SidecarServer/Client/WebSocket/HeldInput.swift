import NIOCore
import SidecarCore

/// Input of the client that has not been processed yet.
struct HeldInput {
    private var bytes: ByteBuffer?
    /// True while events are processed: input that arrives meanwhile belongs after them.
    var isProcessing = false
    /// True when a read was requested and not passed on.
    var isReadWithheld = false

    var isEmpty: Bool { bytes == nil }

    mutating func hold(_ bytes: ByteBuffer) { self.bytes = bytes }

    mutating func take() -> ByteBuffer? { bytes.take() }
}

/// The bytes that one connection holds of a budget of the process.
struct BudgetShare {
    private(set) var bytes = 0

    /// Returns what is to be added to the budget.
    mutating func change(to bytes: Int) -> Int {
        defer { self.bytes = bytes }
        return bytes - self.bytes
    }
}
