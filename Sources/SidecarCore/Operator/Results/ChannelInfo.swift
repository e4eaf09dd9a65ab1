/// What an operator sees of one channel.
public struct ChannelInfo: Sendable, Equatable {
    /// Its name, position and number of connections.
    public var summary: ChannelSummary
    /// A page of the users in it, each once, in order.
    public var users: [UserName]
    /// The next page starts after this user; nil on the last page.
    public var next: UserName?
    /// The names of nodes that did not answer.
    public var missing: [String]

    /// The channel with its users.
    public init(summary: ChannelSummary, users: [UserName], next: UserName? = nil, missing: [String] = []) {
        self.next = next
        self.missing = missing
        self.summary = summary
        self.users = users
    }
}

extension ChannelInfo {
    /// The channel with the first of its users.
    ///
    /// - Parameter users: In order; one more than `limit` shows that there are more.
    public init(summary: ChannelSummary, users: [UserName], limit: Int, missing: [String] = []) {
        let page = Array(users.prefix(limit))
        self.init(summary: summary, users: page, next: users.count > limit ? page.last : nil, missing: missing)
    }
}

/// A page of channels, by name.
public struct ChannelPage: Sendable, Equatable {
    /// The channels.
    public var channels: [ChannelSummary]
    /// The names of nodes that did not answer, and are not counted.
    public var missing: [String]

    /// A page.
    public init(channels: [ChannelSummary], missing: [String] = []) {
        self.channels = channels
        self.missing = missing
    }
}
