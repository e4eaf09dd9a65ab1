/// Who the client is, decided in one place and used by events, pass-through and logs.
public struct ClientIdentity: Sendable, Equatable {
    /// The client's address without port, or `unix:` for a peer on a Unix socket.
    public let address: String
    /// `http` or `https`, as the client spoke it.
    public let scheme: String
    /// What the app gets as `X-Forwarded-For`: the client, then the proxies on the way.
    public let forwardedFor: String
    /// The host that the client asked a trusted proxy for; nil when the `Host` field counts.
    public let forwardedHost: String?

    /// The single-address field that the app gets as well, since a trusted proxy sent it; nil for none.
    public let namedIn: ClientIPHeader?

    /// Makes an identity.
    ///
    /// - Parameter forwardedFor: The chain of addresses; the client's alone unless given.
    public init(
        address: String,
        scheme: String,
        forwardedFor: String? = nil,
        forwardedHost: String? = nil,
        namedIn: ClientIPHeader? = nil
    ) {
        self.address = address
        self.scheme = scheme
        self.forwardedFor = forwardedFor ?? address
        self.forwardedHost = forwardedHost
        self.namedIn = namedIn
    }
}
