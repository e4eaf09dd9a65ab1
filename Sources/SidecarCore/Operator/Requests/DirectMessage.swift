public import NIOCore

/// A message to single connections, not to a channel.
public struct DirectMessage: Sendable, Equatable {
    /// Text or binary.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the default.
    public let event: String?
    /// Whether the API's response waits, for at most ten seconds, until the kernel has taken the message.
    public let waitsForKernel: Bool

    /// A message.
    public init(_ format: MessageFormat, _ payload: ByteBuffer, event: String?, waitsForKernel: Bool) {
        self.format = format
        self.payload = payload
        self.event = event
        self.waitsForKernel = waitsForKernel
    }
}
