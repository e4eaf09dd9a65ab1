import HTTP1

/// Decides which pages may open a socket. Without it any page could open one with its visitors' cookies.
///
/// Only browsers attach another site's cookies, and a page cannot forge its `Origin`, so checking that field is enough.
/// Where a request carries no `Origin`, as an event stream's may, `Sec-Fetch-Site` still tells its site.
public struct OriginPolicy: Sendable, Equatable {
    private var allowsSameHost = false
    /// Whether the list has `*`.
    private(set) var allowsAny = false
    private var allowsNull = false
    private var exact: Set<WebOrigin> = []
    private var subdomains: [SubdomainPattern] = []

    /// `same-host` alone: pages of the host that is asked.
    public static let sameHost: OriginPolicy = {
        var policy = OriginPolicy()
        policy.allowsSameHost = true
        return policy
    }()

    private init() {}

    /// Reads the items of a list, at least one.
    ///
    /// - `same-host`: the origin's host and port are those of the request.
    /// - `https://example.com`, `https://example.com:8443`, `chrome-extension://id`: exactly this origin; the case of
    ///   letters, the scheme's own port, the form of an IPv6 address and one closing slash make no difference.
    /// - `https://*.example.com`, also with a port: any name below `example.com`, but not itself.
    /// - `*`: any origin but `null`.
    /// - `null`: pages without origin of their own, such as sandboxed frames; any site can make one.
    ///
    /// Throws at the first item that is none of these, and when there is none at all.
    public init(parsing items: some Sequence<some StringProtocol>) throws(AdmissionSyntaxFault) {
        var count = 0
        for item in items {
            count += 1
            guard count <= Self.mostItems else {
                throw AdmissionSyntaxFault("names more than \(Self.mostItems) origins")
            }
            switch item.lowercased() {
            case "same-host": allowsSameHost = true
            case "*": allowsAny = true
            case "null": allowsNull = true
            default: try add(item)
            }
        }
        guard count > 0 else { throw AdmissionSyntaxFault("names no origin; * allows any") }
    }

    /// Decides on one handshake.
    ///
    /// For `same-host` the ports must agree. An origin without port, or with its scheme's own, agrees with a `Host`
    /// without port or with that same port, whatever we know of the scheme: behind a load balancer that ends TLS we
    /// see plain HTTP where the page has `https:`. Any other port has to stand in both. A plain `http:` page is
    /// refused where the client is known to speak HTTPS with us; see ``OriginRefusal/downgrade``.
    ///
    /// - Parameters:
    ///   - values: The values of all `Origin` fields.
    ///   - fetchSites: The values of all `Sec-Fetch-Site` fields, which no page can set (W3C Fetch Metadata §2.3).
    ///   - host: The host that the client asked for: `Host`, or what a trusted proxy forwarded.
    ///   - scheme: The scheme that the client spoke, as far as known.
    ///   - allowMissing: Whether a request without `Origin`, which comes from no browser, may pass.
    public func decide(
        origin values: [String],
        fetchSite fetchSites: [String],
        host: String,
        scheme: ClientScheme,
        allowMissing: Bool
    ) -> OriginDecision {
        guard let value = values.first else {
            guard allowMissing else { return .refused(.missing) }
            return allowsAny || !Self.isOfAnotherOrigin(fetchSites) ? .allowed : .refused(.crossSite)
        }
        guard values.count == 1, !value.utf8.contains(where: { $0 == 0x20 || $0 == 0x2C || $0 == 0x09 }) else {
            return .refused(.repeated)
        }
        // Browsers write it in lower case; other spellings are treated as the same.
        if value.utf8.count == 4, value.lowercased() == "null" {
            return allowsNull ? .allowed : .refused(.null)
        }
        guard value.utf8.count <= Self.longestOrigin, let origin = WebOrigin(value[...]) else {
            return .refused(.malformed)
        }
        if allowsAny || exact.contains(origin) || subdomains.contains(where: { $0.matches(origin) }) {
            return .allowed
        }
        guard allowsSameHost, Self.isSameHost(origin, host) else { return .refused(.notListed) }
        return origin.scheme == "http" && scheme == .https ? .refused(.downgrade) : .allowed
    }

    /// What a page may do with the response to a request that ``decide(origin:fetchSite:host:scheme:allowMissing:)``
    /// allows.
    ///
    /// - Parameters:
    ///   - values: The values of all `Origin` fields.
    ///   - host: The host that the client asked for.
    public func grant(origin values: [String], host: String) -> CrossOriginGrant {
        guard let value = values.first else { return .notAsked }
        let origin = WebOrigin(value[...])
        let isListed =
            origin.map { origin in
                exact.contains(origin) || subdomains.contains { $0.matches(origin) }
                    || allowsSameHost && Self.isSameHost(origin, host)
            } ?? allowsNull
        return isListed ? .credentialed(value) : allowsAny ? .anonymous : .refused
    }

    /// True when any value, also one of a list or with parameters, names another site, or another origin of this one.
    ///
    /// Values that the specification does not have come from no browser, and are ignored.
    private static func isOfAnotherOrigin(_ fetchSites: [String]) -> Bool {
        fetchSites.contains { field in
            field.utf8.split(separator: UInt8(ascii: ",")).contains { item in
                let token = item.prefix { $0 != UInt8(ascii: ";") }
                let word = token.filter { !HTTPField.isSpace($0) && $0 != UInt8(ascii: "\"") }
                return word.withUnsafeBytes { HTTPField.equals($0, "cross-site") || HTTPField.equals($0, "same-site") }
            }
        }
    }

    private static func isSameHost(_ origin: WebOrigin, _ host: String) -> Bool {
        guard origin.scheme == "http" || origin.scheme == "https" else { return false }
        guard let asked = OriginAuthority(host[...]), asked.host == origin.host else { return false }
        guard let port = asked.port else { return origin.hasOwnPort }
        return port == origin.port
    }

    private static let mostItems = 1024
    /// A scheme, the longest name and a port; anything longer is a list or an attack.
    private static let longestOrigin = 512
}

// Reading the setting.
extension OriginPolicy {
    private mutating func add(_ item: some StringProtocol) throws(AdmissionSyntaxFault) {
        var text = Substring(item)
        guard let mark = text.firstRange(of: "://") else {
            throw AdmissionSyntaxFault(in: item, "has no scheme; an origin is https://example.com")
        }
        guard WebOrigin.isScheme(text[..<mark.lowerBound]) else {
            throw AdmissionSyntaxFault(in: item, "has no valid scheme; write http and https origins apart")
        }
        // Many people close an origin with a slash; it means the same.
        if text.last == "/", text.index(before: text.endIndex) >= mark.upperBound { text.removeLast() }
        let rest = text[mark.upperBound...]
        if let problem = Self.problem(in: rest) { throw AdmissionSyntaxFault(in: item, problem) }
        if rest.hasPrefix("*.") {
            guard let pattern = SubdomainPattern(scheme: text[..<mark.lowerBound], rest.dropFirst(2)) else {
                throw AdmissionSyntaxFault(in: item, "has no http or https scheme or no host name behind its *.")
            }
            if !subdomains.contains(pattern) { subdomains.append(pattern) }
            return
        }
        guard !rest.contains("*") else {
            throw AdmissionSyntaxFault(in: item, "has a * elsewhere than as its first label, https://*.example.com")
        }
        guard let origin = WebOrigin(text) else {
            throw AdmissionSyntaxFault(in: item, "has no valid host or port; an origin is https://example.com:8443")
        }
        exact.insert(origin)
    }

    /// Common mistakes that get an explanation of their own.
    private static func problem(in rest: Substring) -> String? {
        if rest.contains("@") { return "has a user part, which an origin has not" }
        if rest.contains("/") || rest.contains("?") || rest.contains("#") {
            return "has a path, query or fragment, which an origin has not"
        }
        if rest.utf8.contains(where: { $0 >= 0x80 }) { return "has an international name; write it as xn--..." }
        let host = rest.prefix { $0 != ":" }
        if host.hasSuffix(".") { return "has a dot at the end of its host, which browsers never send" }
        return nil
    }
}

/// `https://*.example.com`: every name below `example.com`.
private struct SubdomainPattern: Sendable, Equatable {
    let scheme: String
    /// Begins with the dot, `.example.com`, so that `evil-example.com` does not match.
    let suffix: String
    let port: Int

    /// Nil when the scheme is neither HTTP nor HTTPS, or what follows `*.` is an address or no name.
    init?(scheme: Substring, _ text: Substring) {
        self.scheme = scheme.lowercased()
        guard self.scheme == "http" || self.scheme == "https", let ownPort = WebOrigin.ownPort(of: self.scheme),
            text.first != "[", let authority = OriginAuthority(text),
            let last = authority.host.split(separator: ".").last, !last.utf8.allSatisfy(HTTPField.isDigit)
        else { return nil }
        suffix = "." + authority.host
        port = authority.port ?? ownPort
    }

    func matches(_ origin: WebOrigin) -> Bool {
        // A valid host has no empty label, so a longer one has at least one label before the dot.
        origin.scheme == scheme && origin.port == port && origin.host.utf8.count > suffix.utf8.count
            && origin.host.hasSuffix(suffix)
    }
}
