/// A channel as the API lists it.
public struct ChannelSummary: Sendable, Equatable {
    /// The channel's name.
    public let channel: ChannelName
    /// How many connections have subscribed to it.
    public var connections: Int
    /// The position of its last message.
    public let position: ChannelPosition

    /// The head of a channel with the number of its connections.
    public init(_ head: ChannelHead, connections: Int) {
        channel = head.channel
        position = head.position
        self.connections = connections
    }
}
