/// Where a Redis is, and how to log in there (`CLUSTER_URL`).
public struct EngineURL: Sendable, Equatable, CustomStringConvertible {
    /// How the servers behind the URL work together.
    public enum Topology: Sendable, Equatable {
        /// One server.
        case standalone
        /// The hosts are Sentinels, which know the primary of `service`.
        case sentinel(service: String)
        /// The hosts are some of the nodes of a Redis Cluster.
        case cluster
    }

    /// A host and its port.
    public struct Host: Sendable, Hashable, CustomStringConvertible {
        /// A host name or IP address in lower case, IPv6 without brackets.
        public let host: String
        /// The TCP port, 1 to 65535.
        public let port: Int

        /// The port `port` of `host`.
        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }

        /// Whether connections to it stay on this machine.
        public var isLoopback: Bool {
            host == "localhost" || IPAddress(host) == .loopbackV6
                || (host.hasPrefix("127.") && HostSyntax.isIPv4(host))
        }

        /// `HOST:PORT` as it is written in a URL, IPv6 in brackets.
        public var description: String { "\(HostSyntax.bracketed(host)):\(port)" }
    }

    /// How the servers work together.
    public let topology: Topology
    /// One server, or the Sentinels or nodes to ask first; at least one.
    public let hosts: [Host]
    /// The ACL user; nil for the default user.
    public let user: String?
    /// The password; nil: none is needed.
    public let password: String?
    /// The number of the database; always 0 in a Redis Cluster.
    public let database: Int
    /// Whether to speak TLS.
    public let isEncrypted: Bool
    /// A PEM file with the authorities that may sign the servers' certificates; nil: the system's.
    public let caFile: String?
    /// A PEM file with the certificate chain to present to the servers; nil for none.
    public let certificateFile: String?
    /// A PEM file with the private key to it.
    public let keyFile: String?

    /// A URL of these parts, which are not checked; ``hosts`` must not be empty.
    public init(
        topology: Topology = .standalone,
        hosts: [Host],
        user: String? = nil,
        password: String? = nil,
        database: Int = 0,
        isEncrypted: Bool = false,
        caFile: String? = nil,
        certificateFile: String? = nil,
        keyFile: String? = nil
    ) {
        self.topology = topology
        self.hosts = hosts
        self.user = user
        self.password = password
        self.database = database
        self.isEncrypted = isEncrypted
        self.caFile = caFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }

    /// Reads a URL as `CLUSTER_URL` takes it; nil when it is invalid.
    public init?(_ text: String) {
        guard let url = try? EngineURLSyntax.read(text[...]).url else { return nil }
        self = url
    }

    /// Scheme, hosts and path, without user, password and parameters: fit for a log.
    public var description: String {
        "\(scheme)://\(hostsAndPath)"
    }

    /// The URL as it is written in a setting, with its secrets.
    var text: String {
        let parameters = parameters.map { "\($0)=\(EngineURLSyntax.encoded($1, keeping: "/"))" }
        return "\(scheme)://\(credentials)\(hostsAndPath)" + (parameters.isEmpty ? "" : "?")
            + parameters.joined(separator: "&")
    }

    private var scheme: String {
        let name = isEncrypted ? "rediss" : "redis"
        return switch topology {
        case .standalone: name
        case .sentinel: "\(name)+sentinel"
        case .cluster: "\(name)+cluster"
        }
    }

    private var credentials: String {
        guard let password else { return "" }
        return "\(EngineURLSyntax.encoded(user ?? "")):\(EngineURLSyntax.encoded(password))@"
    }

    private var hostsAndPath: String {
        var result = hosts.map(\.description).joined(separator: ",")
        if case .sentinel(let service) = topology { result += "/\(EngineURLSyntax.encoded(service, keeping: ":"))" }
        if database != 0 { result += "/\(database)" }
        return result
    }

    private var parameters: [(name: String, value: String)] {
        [("ca", caFile), ("cert", certificateFile), ("key", keyFile)].compactMap { name, value in
            value.map { (name, $0) }
        }
    }
}
