/// What an operator sees of one connection.
public struct ConnectionInfo: Codable, Sendable, Equatable {
    /// Its id.
    public var id: String
    /// Its user, if known.
    public var user: UserName?
    /// The client's address.
    public var address: String
    /// The path and query that the client asked for.
    public var subject: String
    /// When it was accepted, in milliseconds since 1970.
    public var openedAt: Int64
    /// Data messages of the client.
    public var messagesIn: Int
    /// Data messages to the client.
    public var messagesOut: Int
    /// Bytes received that the app has not answered yet.
    public var pendingBytes: Int
    /// The channels that it is in.
    public var channels: [ChannelName]
    /// Whether its session waits for the client to return; nil where that cannot be.
    public var isDetached: Bool?
    /// The name of its node; nil without a cluster.
    public var node: String?

    /// A snapshot.
    public init(
        id: String,
        user: UserName?,
        address: String,
        subject: String,
        openedAt: Int64,
        messagesIn: Int,
        messagesOut: Int,
        pendingBytes: Int,
        channels: [ChannelName] = [],
        isDetached: Bool? = nil
    ) {
        self.isDetached = isDetached
        self.channels = channels
        self.id = id
        self.user = user
        self.address = address
        self.subject = subject
        self.openedAt = openedAt
        self.messagesIn = messagesIn
        self.messagesOut = messagesOut
        self.pendingBytes = pendingBytes
    }
}
