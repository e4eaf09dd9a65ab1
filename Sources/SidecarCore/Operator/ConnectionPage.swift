/// Which connections are listed.
public struct ConnectionFilter: Sendable, Equatable {
    /// Of this user; nil for all.
    public var user: UserName?
    /// Of this address; nil for all.
    public var address: IPAddress?
    /// In this channel; nil for all.
    public var channel: ChannelName?

    /// Makes one.
    public init(user: UserName? = nil, address: IPAddress? = nil, channel: ChannelName? = nil) {
        self.user = user
        self.address = address
        self.channel = channel
    }
}

/// A part of a list that is ordered by id.
public struct ConnectionPage: Sendable, Equatable {
    /// The connections.
    public var connections: [ConnectionInfo]
    /// Ask for those after this one next; nil when these were the last.
    public var next: String?

    /// Makes one.
    public init(connections: [ConnectionInfo], next: String?) {
        self.connections = connections
        self.next = next
    }
}
