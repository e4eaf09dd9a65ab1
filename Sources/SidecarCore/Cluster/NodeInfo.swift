/// A node of the cluster as the others see it.
public struct NodeInfo: Sendable, Equatable {
    /// Its name (`NODE_NAME`).
    public let name: String
    /// Its version of Sidesocket.
    public let version: String
    /// When it started, in milliseconds since 1970.
    public let startedAt: Int64
    /// Its WebSockets and event streams.
    public let connections: Int
    /// The channels that it subscribes to.
    public let channels: Int
    /// After how long without a sign of life it is taken for lost, in milliseconds.
    public let leaseMilliseconds: Int64

    /// A node.
    public init(
        name: String,
        version: String,
        startedAt: Int64,
        connections: Int,
        channels: Int,
        leaseMilliseconds: Int64
    ) {
        self.name = name
        self.version = version
        self.startedAt = startedAt
        self.connections = connections
        self.channels = channels
        self.leaseMilliseconds = leaseMilliseconds
    }
}

/// The cluster as the API lists it.
public struct ClusterInfo: Sendable, Equatable {
    /// The engine.
    public let engine: ClusterStatus
    /// The nodes that are alive, by name.
    public let nodes: [NodeInfo]

    /// A cluster.
    public init(engine: ClusterStatus, nodes: [NodeInfo]) {
        self.engine = engine
        self.nodes = nodes
    }
}
