/// What an operator sees of one channel.
public struct ChannelInfo: Sendable, Equatable {
    /// Its name, its place and the number of its connections.
    public var summary: ChannelSummary
    /// The users in it, each once, in order.
    public var users: [UserName]

    /// Makes one.
    public init(summary: ChannelSummary, users: [UserName]) {
        self.summary = summary
        self.users = users
    }
}
