public import NIOCore

/// A message that is kept.
public struct StoredMessage: Sendable, Equatable {
    /// Its place.
    public let offset: UInt64
    /// When it was published, in milliseconds since 1970.
    public let time: Int64
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// Makes one.
    public init(offset: UInt64, time: Int64, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.offset = offset
        self.time = time
        self.format = format
        self.payload = payload
        self.event = event
    }
}

/// What is kept of a channel after some place.
public struct ChannelHistory: Sendable, Equatable {
    /// The epoch of the places.
    public let epoch: ChannelEpoch
    /// The messages, oldest first.
    public let messages: [StoredMessage]

    /// Makes one.
    public init(epoch: ChannelEpoch, messages: [StoredMessage]) {
        self.epoch = epoch
        self.messages = messages
    }
}

/// Which part of a history is read.
public enum HistoryPart: Sendable, Equatable {
    /// The oldest messages behind a place; nil for those from the beginning on.
    case after(UInt64?)
    /// The newest messages.
    case newest
}

/// What a subscriber who comes again has missed of one channel.
public struct ChannelReplay: Sendable, Equatable {
    /// The messages, oldest first; none when something is missing.
    public let messages: [StoredMessage]
    /// Whether all that was published since is among them.
    public let isComplete: Bool
    /// Everything up to here has been said; what is behind it is received.
    public let upTo: ChannelPosition

    /// Makes one.
    public init(messages: [StoredMessage], isComplete: Bool, upTo: ChannelPosition) {
        self.messages = messages
        self.isComplete = isComplete
        self.upTo = upTo
    }
}
