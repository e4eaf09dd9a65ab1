import SidecarCore

/// The peer of a connection according to its PROXY header, as an event for the handlers behind.
enum ProxyHeaderEvent {
    /// The header has been read; nil when the proxy made the connection itself.
    case named(IPAddress?)
    /// There is none, it is invalid, or its sender is not trusted.
    case refused(String)
}
