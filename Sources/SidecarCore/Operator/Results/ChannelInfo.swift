/// What an operator sees of one channel.
public struct ChannelInfo: Sendable, Equatable {
    /// Its name, position and number of connections.
    public var summary: ChannelSummary
    /// The users in it, each once, in order.
    public var users: [UserName]

    /// The channel with its users.
    public init(summary: ChannelSummary, users: [UserName]) {
        self.summary = summary
        self.users = users
    }
}
