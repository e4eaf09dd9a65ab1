public import NIOCore

/// A message that is kept.
public struct StoredMessage: Sendable, Equatable {
    /// Its offset in the channel.
    public let offset: UInt64
    /// When it was published, in milliseconds since 1970.
    public let time: Int64
    /// Text or binary.
    public let format: MessageFormat
    /// The message's bytes.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// A message as it is kept.
    public init(offset: UInt64, time: Int64, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.offset = offset
        self.time = time
        self.format = format
        self.payload = payload
        self.event = event
    }
}

/// The kept messages of a channel after an offset.
public struct ChannelHistory: Sendable, Equatable {
    /// The epoch of the offsets.
    public let epoch: ChannelEpoch
    /// The messages, oldest first.
    public let messages: [StoredMessage]

    /// A part of a history.
    public init(epoch: ChannelEpoch, messages: [StoredMessage]) {
        self.epoch = epoch
        self.messages = messages
    }
}

/// Which part of a history is read.
public enum HistoryPart: Sendable, Equatable {
    /// The oldest messages after an offset; nil to start with the oldest one kept.
    case after(UInt64?)
    /// The newest messages.
    case newest
}

/// What a returning subscriber has not received of one channel.
public struct ChannelReplay: Sendable, Equatable {
    /// The messages, oldest first; empty when any of them is no longer kept.
    public let messages: [StoredMessage]
    /// Whether these are all messages since the subscriber's position.
    public let isComplete: Bool
    /// The replay covers everything up to here; later messages are received live.
    public let upTo: ChannelPosition

    /// A replay.
    public init(messages: [StoredMessage], isComplete: Bool, upTo: ChannelPosition) {
        self.messages = messages
        self.isComplete = isComplete
        self.upTo = upTo
    }
}
