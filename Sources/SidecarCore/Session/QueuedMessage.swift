public import NIOCore

/// A data message that waits to be delivered.
public struct QueuedMessage: Sendable, Equatable {
    /// What kind of data it is.
    public let format: MessageFormat
    /// What the client sent.
    public let payload: ByteBuffer
    /// What a client of the protocol says of it; nil for others.
    public let label: MessageLabel?
    /// When it arrived, in milliseconds since 1970; nil when that is now.
    public let time: Int64?
    /// The same by the monotonic clock, for measuring; nil when nothing is measured.
    public let since: NIODeadline?

    /// A message that arrived at `time`.
    public init(
        format: MessageFormat,
        payload: ByteBuffer,
        label: MessageLabel? = nil,
        time: Int64?,
        since: NIODeadline? = nil
    ) {
        self.label = label
        self.since = since
        self.format = format
        self.payload = payload
        self.time = time
    }

    /// What it counts for while it waits, in bytes.
    var bytes: Int { payload.readableBytes + SessionStateMachine.messageOverhead }
    /// Whether it needs an answer of its own, and so a request of its own.
    var needsAnswer: Bool { label?.id != nil }
}
