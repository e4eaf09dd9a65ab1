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
