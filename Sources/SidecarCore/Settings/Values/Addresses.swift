/// An address to listen on.
public enum ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A host name or IP address (IPv6 without brackets) and a port; port 0 lets the system choose.
    case tcp(host: String, port: Int)
    /// A Unix domain socket.
    case unix(path: String)

    /// The address as it is written in a setting.
    public var description: String {
        switch self {
        case .tcp(let host, let port): "\(HostSyntax.bracketed(host)):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// Whether two listeners on these addresses would collide: the second is refused, or clients are split between
    /// them.
    func collides(with other: ListenAddress) -> Bool {
        switch (self, other) {
        case (.unix(let path), .unix(let otherPath)):
            path == otherPath
        case (.tcp(let host, let port), .tcp(let otherHost, let otherPort)):
            port == otherPort && port != 0
                && (host == otherHost || Self.covers(host, otherHost) || Self.covers(otherHost, host))
        case (.tcp, .unix), (.unix, .tcp):
            false
        }
    }

    /// Whether a connection to `origin` made on this machine would arrive at this listener.
    func answers(_ origin: AppOrigin) -> Bool {
        switch (self, origin) {
        case (.unix(let path), .unix(let appPath)):
            return path == appPath
        case (.tcp(let host, let port), .tcp(let appHost, let appPort, _)):
            guard port == appPort else { return false }
            let isLocal = appHost == "localhost" || appHost == "::1" || appHost.hasPrefix("127.")
            return host == appHost
                || (isLocal && (Self.covers(host, appHost) || (host == "::" && appHost != "::1")))
                || (host == "localhost" && appHost == "127.0.0.1")
                || (host == "127.0.0.1" && appHost == "localhost")
        case (.tcp, .unix), (.unix, .tcp):
            return false
        }
    }

    /// Whether `host` is the wildcard of the other address's family.
    private static func covers(_ host: String, _ other: String) -> Bool {
        switch host {
        case "0.0.0.0": other == "localhost" || HostSyntax.isIPv4(other)
        case "::": other == "localhost" || HostSyntax.isIPv6(other)
        default: false
        }
    }
}

/// Where an app answers HTTP: scheme, host and port, or a Unix domain socket.
public enum AppOrigin: Sendable, Equatable, Hashable, CustomStringConvertible {
    /// A host name or IP address (lower case, IPv6 without brackets), a port, and whether to speak TLS.
    case tcp(host: String, port: Int, tls: Bool)
    /// A Unix domain socket; plain HTTP.
    case unix(path: String)

    /// The value of a Host header for this origin: the scheme's own port left out, `localhost` for a Unix socket.
    public var authority: String {
        switch self {
        case .tcp(let host, let port, let tls):
            port == (tls ? 443 : 80) ? HostSyntax.bracketed(host) : "\(HostSyntax.bracketed(host)):\(port)"
        case .unix:
            "localhost"
        }
    }

    /// True for the same port of the same machine, whichever of the machine's names is used.
    public func isSameEndpoint(as other: AppOrigin) -> Bool {
        func canonical(_ host: String) -> String {
            host == "127.0.0.1" || host == "::1" ? "localhost" : host
        }
        switch (self, other) {
        case (.tcp(let host, let port, _), .tcp(let otherHost, let otherPort, _)):
            return port == otherPort && canonical(host) == canonical(otherHost)
        case (.unix, .unix):
            return self == other
        case (.tcp, .unix), (.unix, .tcp):
            return false
        }
    }

    /// Whether connections to this origin use TLS.
    public var usesTLS: Bool {
        switch self {
        case .tcp(_, _, let tls): tls
        case .unix: false
        }
    }

    /// The origin as it is written in a setting.
    public var description: String {
        switch self {
        case .tcp(_, _, let tls): "\(tls ? "https" : "http")://\(authority)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// The URL that all events are sent to.
public struct WebhookTarget: Sendable, Equatable, CustomStringConvertible {
    /// The host to call; nil when it is the app itself.
    public var origin: AppOrigin?
    /// The request target in origin form: path and query.
    public var path: String

    /// A target on `origin`, or on the app when that is nil.
    public init(origin: AppOrigin?, path: String) {
        self.origin = origin
        self.path = path
    }

    /// The target as it is written in a setting.
    public var description: String {
        "\(origin?.description ?? "")\(path)"
    }
}
