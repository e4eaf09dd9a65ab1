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
