/// Who the client is, decided in one place and used by events, pass-through and logs.
public struct ClientIdentity: Sendable, Equatable {
    /// The client's address without port, or `unix:` for a peer on a Unix socket.
    public let address: String
    /// `http` or `https`, as the client spoke it.
    public let scheme: String

    /// Makes an identity from the peer of the connection.
    public init(address: String, scheme: String) {
        self.address = address
        self.scheme = scheme
    }
}
