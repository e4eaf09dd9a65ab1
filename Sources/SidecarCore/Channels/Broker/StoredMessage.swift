public import NIOCore

/// A message that is kept.
public struct StoredMessage: Sendable, Equatable {
    /// Its offset in the channel.
    public let offset: UInt64
    /// Its id.
    public let id: MessageID
    /// When it was published, in milliseconds since 1970.
    public let time: Int64
    /// Text or binary.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// A message as it is kept.
    public init(
        offset: UInt64,
        id: MessageID,
        time: Int64,
        format: MessageFormat,
        payload: ByteBuffer,
        event: String? = nil
    ) {
        self.offset = offset
        self.id = id
        self.time = time
        self.format = format
        self.payload = payload
        self.event = event
    }
}
