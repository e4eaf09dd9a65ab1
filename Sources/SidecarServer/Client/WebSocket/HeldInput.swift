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

    /// Keeps what could not be used yet: a part of a frame header, or all that back-pressure holds up.
    mutating func keep(_ rest: ByteBuffer) {
        // A few bytes must not hold the whole buffer that they were read into.
        bytes = rest.readableBytes <= 16 ? ByteBuffer(bytes: rest.readableBytesView) : rest
    }

    mutating func take() -> ByteBuffer? { bytes.take() }

    /// What is held, with what has just come behind it.
    mutating func take(with arrived: ByteBuffer) -> ByteBuffer {
        guard var held = bytes.take() else { return arrived }
        held.writeImmutableBuffer(arrived)
        return held
    }
}

/// The bytes that one connection has in a budget of the process.
struct BudgetShare {
    private(set) var bytes = 0

    mutating func set(_ bytes: Int, in budget: SharedBudget) {
        guard bytes != self.bytes else { return }
        budget.adjust(by: bytes - self.bytes)
        self.bytes = bytes
    }
}
