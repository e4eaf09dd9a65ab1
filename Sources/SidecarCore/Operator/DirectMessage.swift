public import NIOCore

/// A message past all channels.
public struct DirectMessage: Sendable, Equatable {
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?
    /// Whether the answer waits, for ten seconds at most, until the kernel has taken it.
    public let waitsForKernel: Bool

    /// Makes one.
    public init(_ format: MessageFormat, _ payload: ByteBuffer, event: String?, waitsForKernel: Bool) {
        self.format = format
        self.payload = payload
        self.event = event
        self.waitsForKernel = waitsForKernel
    }
}
