public import NIOCore

/// One command of an `application/vnd.sidesocket+json` answer.
public enum Command: Sendable, Equatable {
    /// Send a message to this client.
    case send(MessageFormat, ByteBuffer)
    /// Name the user; empty forgets it.
    case user(UserName)
    /// Keep this state for later events; empty clears it.
    case state(String)
    /// Close after what was sent before.
    case close(CloseRequest)
    /// Join a channel.
    case subscribe(ChannelName)
    /// Leave a channel.
    case unsubscribe(ChannelName)
    /// Send a message to the subscribers of a channel, but for this client if it is excluded.
    case publish(Publication, excludesSelf: Bool)
}
