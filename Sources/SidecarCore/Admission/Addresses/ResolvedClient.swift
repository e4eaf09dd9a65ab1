import HTTP1

/// The scheme that a client spoke to the outermost proxy that we trust, or to us.
public enum ClientScheme: String, Sendable, Equatable, CaseIterable {
    /// Plain HTTP or `ws:`.
    case http
    /// HTTP over TLS or `wss:`.
    case https

    /// Reads a scheme as proxies write it, in any case; nil for one that is neither HTTP nor WebSocket.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        if bytes.matches(range, "https") || bytes.matches(range, "wss") {
            self = .https
        } else if bytes.matches(range, "http") || bytes.matches(range, "ws") {
            self = .http
        } else {
            return nil
        }
    }
}

/// The header in which trusted proxies name the client.
public enum ClientIPHeader: String, Sendable, Equatable, CaseIterable {
    /// A list that each proxy appends to; the usual one.
    case xForwardedFor = "x-forwarded-for"
    /// The standard's list (RFC 7239).
    case forwarded
    /// One address, set by Cloudflare.
    case cfConnectingIP = "cf-connecting-ip"
    /// One address, as nginx is often told to set.
    case xRealIP = "x-real-ip"
    /// One address, set by Akamai and Cloudflare.
    case trueClientIP = "true-client-ip"

    /// The field's name in lower case.
    public var fieldName: StaticString {
        switch self {
        case .xForwardedFor: "x-forwarded-for"
        case .forwarded: "forwarded"
        case .cfConnectingIP: "cf-connecting-ip"
        case .xRealIP: "x-real-ip"
        case .trueClientIP: "true-client-ip"
        }
    }

    /// True for those that hold the one address of the client.
    var isSingle: Bool {
        switch self {
        case .xForwardedFor, .forwarded: false
        case .cfConnectingIP, .xRealIP, .trueClientIP: true
        }
    }
}

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
