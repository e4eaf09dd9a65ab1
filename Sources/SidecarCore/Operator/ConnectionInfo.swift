/// What an operator sees of one connection.
public struct ConnectionInfo: Sendable, Equatable {
    /// Its name.
    public var id: String
    /// Who it is, when that is known.
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
    /// Bytes that the app has not answered.
    public var pendingBytes: Int
    /// The channels that it is in.
    public var channels: [ChannelName]

    /// Makes one.
    public init(
        id: String,
        user: UserName?,
        address: String,
        subject: String,
        openedAt: Int64,
        messagesIn: Int,
        messagesOut: Int,
        pendingBytes: Int,
        channels: [ChannelName] = []
    ) {
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
