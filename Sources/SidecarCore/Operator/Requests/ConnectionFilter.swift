/// Which connections are listed.
public struct ConnectionFilter: Codable, Sendable, Equatable {
    /// Of this user; nil for all.
    public var user: UserName?
    /// Of this address; nil for all.
    public var address: IPAddress?
    /// In this channel; nil for all.
    public var channel: ChannelName?

    /// A filter; without arguments it matches all connections.
    public init(user: UserName? = nil, address: IPAddress? = nil, channel: ChannelName? = nil) {
        self.user = user
        self.address = address
        self.channel = channel
    }
}
