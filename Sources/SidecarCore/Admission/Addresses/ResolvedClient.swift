/// Who sent a request, as far as the proxies that we trust can tell.
public struct ResolvedClient: Sendable, Equatable {
    /// The client's address without port and zone; `unix:` on a Unix socket, `unknown` when the system named no peer.
    public let address: String

    /// The same address for limits; nil for `unix:` and `unknown`.
    public let ip: IPAddress?

    /// The scheme that the client spoke: a trusted peer's word if it has one, else the connection's own.
    public let scheme: ClientScheme

    /// The `host[:port]` that the client asked for according to a trusted peer; nil when the `Host` field counts.
    public let forwardedHost: String?

    /// What the app gets as `X-Forwarded-For`; the peer of the connection is its last element.
    public let forwardedForChain: String

    /// Whether the peer was believed.
    public let peerIsTrusted: Bool

    /// The field of one address in which a trusted peer named the client; the app gets it as well.
    public let namedIn: ClientIPHeader?

    /// Whether a peer that is not trusted sent a forwarding header, which was ignored: worth a warning per network,
    /// as all clients behind a proxy that is not listed count as one.
    public let untrustedForwardingHeaderSeen: Bool

    /// What events, pass-through and logs call the client.
    public var identity: ClientIdentity {
        ClientIdentity(
            address: address,
            scheme: scheme.rawValue,
            forwardedFor: forwardedForChain,
            forwardedHost: forwardedHost,
            namedIn: namedIn
        )
    }

    /// What limits per address count this client by; `ipv6PrefixLength` is a number of bits from 0 to 128.
    public func rateLimitKey(ipv6PrefixLength: Int) -> RateLimitKey {
        ip.map { RateLimitKey($0, ipv6PrefixLength: ipv6PrefixLength) } ?? .withoutAddress
    }
}
