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
