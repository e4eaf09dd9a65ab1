import NIOCore
import SidecarCore

/// What has come from the client and has not been taken yet.
struct HeldInput {
    private var bytes: ByteBuffer?
    /// True while events are taken: what comes meanwhile belongs behind them.
    var isProcessing = false
    /// True when a read was asked for and not passed on.
    var isReadWithheld = false

    var isEmpty: Bool { bytes == nil }

    mutating func hold(_ bytes: ByteBuffer) { self.bytes = bytes }

    mutating func take() -> ByteBuffer? { bytes.take() }
}

/// The bytes that one connection has in a budget of the process.
struct BudgetShare {
    private(set) var bytes = 0

    /// Returns what is to be added to the budget.
    mutating func change(to bytes: Int) -> Int {
        defer { self.bytes = bytes }
        return bytes - self.bytes
    }
}
