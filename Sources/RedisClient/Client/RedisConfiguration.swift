public import NIOCore
public import NIOSSL

/// Which servers to use, and how.
public struct RedisConfiguration: Sendable {
    /// How the servers are arranged.
    public enum Topology: Sendable, Equatable {
        /// One server.
        case standalone(RedisAddress)
        /// A master that Sentinels choose.
        case sentinel([RedisAddress], service: String)
        /// Redis Cluster, with some of its nodes.
        case cluster([RedisAddress])
    }

    /// How the servers are arranged.
    public var topology: Topology
    /// The ACL user; nil for the default user.
    public var username: String?
    /// The password; nil for none. It is never logged.
    public var password: String?
    /// The number of the database; 0 in a cluster.
    public var database = 0
    /// TLS for all connections; nil for plain TCP. The certificate has to name the address's host.
    public var tls: NIOSSLContext?
    /// What `CLIENT LIST` shows; without spaces.
    public var clientName = "sidesocket"
    /// How long a command, and each attempt to connect, may take.
    public var commandTimeout = TimeAmount.seconds(1)
    /// After how much silence a connection is probed.
    public var probeInterval = TimeAmount.milliseconds(1500)
    /// How much longer a connection may stay silent before it is given up.
    public var probeTimeout = TimeAmount.milliseconds(1500)
    /// The bounds of the pause before the next attempt to connect; random between the lower one and one that doubles.
    public var backoff: ClosedRange<TimeAmount> = .milliseconds(50) ... .seconds(5)
    /// How much one reply may be.
    public var limits = RESPLimits()
    /// How many request bytes may be unanswered on a connection; what passes it fails with `.notSent(.full)`.
    public var maxPendingBytes = 64 << 20

    /// A configuration for these servers, everything else at its default.
    public init(topology: Topology) {
        self.topology = topology
    }

    /// How many commands may wait for a connection to a master.
    static var maxWaitingCommands: Int { 10_000 }
}

extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The servers and the user, without the password.
    public var description: String {
        "\(topology), user \(username ?? "default"), \(tls == nil ? "without" : "with") TLS, database \(database)"
    }

    /// The same as ``description``.
    public var debugDescription: String { description }

    /// Shows nothing but the description, so that a dump does not show the password.
    public var customMirror: Mirror { Mirror(self, children: ["description": description]) }
}
