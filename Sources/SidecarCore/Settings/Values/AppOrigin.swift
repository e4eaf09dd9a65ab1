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
