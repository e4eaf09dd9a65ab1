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
