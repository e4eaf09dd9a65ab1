public import NIOCore

/// An event that a client of the protocol sends to the other members of a channel. It has no position, and is in no
/// history.
public struct ClientBroadcast: Sendable, Equatable {
    /// Where it goes.
    public let channel: ChannelName
    /// Its type, which begins with `client-`.
    public let type: String
    /// The connection that sent it, which does not get it.
    public let sender: String
    /// The sender's user, if known.
    public let user: UserName?
    /// What kind of data the payload is: `json` or `messagePack`, which have been checked, or `binary`.
    public let format: MessageFormat
    /// The payload.
    public let payload: ByteBuffer

    /// An event; the arguments are not checked.
    public init(
        channel: ChannelName,
        type: String,
        sender: String,
        user: UserName?,
        format: MessageFormat,
        payload: ByteBuffer
    ) {
        self.channel = channel
        self.type = type
        self.sender = sender
        self.user = user
        self.format = format
        self.payload = payload
    }
}
