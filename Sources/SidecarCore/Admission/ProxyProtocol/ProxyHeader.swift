/// What a proxy says about a connection before its first byte.
public enum ProxyHeader: Sendable, Equatable {
    /// No address: the proxy's own health check (LOCAL), or a client that it cannot name (UNKNOWN, AF_UNSPEC, AF_UNIX,
    /// datagrams). The connection's own peer counts.
    case local
    /// A client's connection over TCP.
    case proxied(source: IPAddress, sourcePort: UInt16, destination: IPAddress, destinationPort: UInt16)

    /// The client's address, nil when the connection's own peer counts.
    public var source: IPAddress? {
        switch self {
        case .local: nil
        case .proxied(let source, _, _, _): source
        }
    }
}
