/// A channel and the position of its last message.
public struct ChannelHead: Sendable, Equatable {
    /// The channel's name.
    public let channel: ChannelName
    /// The position of its last message.
    public let position: ChannelPosition

    /// Makes one.
    public init(channel: ChannelName, position: ChannelPosition) {
        self.channel = channel
        self.position = position
    }
}
