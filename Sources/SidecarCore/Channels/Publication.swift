public import NIOCore

/// A message for a channel.
public struct Publication: Sendable, Equatable {
    /// Where it goes.
    public let channel: ChannelName
    /// Text or binary.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// A publication; the arguments are not checked.
    public init(channel: ChannelName, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.channel = channel
        self.format = format
        self.payload = payload
        self.event = event
    }
}
