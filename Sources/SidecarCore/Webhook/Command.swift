public import NIOCore

/// One command of an `application/vnd.sidesocket+json` reply.
public enum Command: Sendable, Equatable {
    /// Send a message to this client.
    case send(MessageFormat, ByteBuffer)
    /// Set the user's name; an empty one removes it.
    case user(UserName)
    /// Attach this state to later events; an empty one clears it.
    case state(String)
    /// Close the connection after what was sent before.
    case close(CloseRequest)
    /// Join a channel.
    case subscribe(ChannelName)
    /// Leave a channel.
    case unsubscribe(ChannelName)
    /// Send a message to the subscribers of a channel, except this client if it is excluded.
    case publish(Publication, excludesSelf: Bool)
}
