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

    /// Keeps input that cannot be used yet: a part of a frame header, or everything during back-pressure.
    mutating func keep(_ rest: ByteBuffer) {
        // A few bytes must not retain the whole buffer that they were read into.
        bytes = rest.readableBytes <= 16 ? ByteBuffer(bytes: rest.readableBytesView) : rest
    }

    mutating func take() -> ByteBuffer? { bytes.take() }

    /// The held input, followed by what has just arrived.
    mutating func take(with arrived: ByteBuffer) -> ByteBuffer {
        guard var held = bytes.take() else { return arrived }
        held.writeImmutableBuffer(arrived)
        return held
    }
}

/// The bytes that one connection holds of a budget of the process.
struct BudgetShare {
    private(set) var bytes = 0

    mutating func set(_ bytes: Int, in budget: SharedBudget) {
        guard bytes != self.bytes else { return }
        budget.adjust(by: bytes - self.bytes)
        self.bytes = bytes
    }
}
