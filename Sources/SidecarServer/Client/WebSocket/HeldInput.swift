import NIOCore

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
