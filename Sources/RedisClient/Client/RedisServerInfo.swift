/// The version of a server.
public struct RedisVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The number before the first dot.
    public let major: Int
    /// The number behind it.
    public let minor: Int

    /// Makes a version.
    public init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Reads a version such as `7.0.15`; nil without two numbers.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", maxSplits: 2)
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1].prefix { $0.isNumber }) else {
            return nil
        }
        self.init(major, minor)
    }

    /// The oldest version that the client works with.
    public static let oldest = RedisVersion(6, 2)

    /// The order of releases.
    public static func < (left: RedisVersion, right: RedisVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    /// `major.minor`
    public var description: String { "\(major).\(minor)" }
}

/// What a server said about itself when the client connected.
public struct RedisServerInfo: Sendable, Hashable {
    /// How a server runs.
    public enum Mode: String, Sendable, Hashable {
        /// On its own or with replicas.
        case standalone
        /// As a node of a cluster.
        case cluster
        /// As a Sentinel.
        case sentinel
    }

    /// Its version.
    public let version: RedisVersion
    /// How it runs.
    public let mode: Mode
    /// What names its data's history: it changes when the data may have gone back (restart, failover). Nil when the
    /// ACL keeps it from us.
    public let replicationID: String?

    /// Makes an information.
    public init(version: RedisVersion, mode: Mode, replicationID: String?) {
        self.version = version
        self.mode = mode
        self.replicationID = replicationID
    }
}

/// A master together with its replicas; stable while the owner is the same.
public struct RedisShardID: Sendable, Hashable, CustomStringConvertible {
    /// The owner's address in a cluster; otherwise a name for all.
    public let description: String

    /// Names a shard.
    init(_ name: String) { description = name }

    /// The only shard of a standalone server or a Sentinel's service.
    static let only = RedisShardID("redis")
}
