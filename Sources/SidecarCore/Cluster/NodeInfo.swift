/// A node of the cluster as the others see it.
public struct NodeInfo: Sendable, Equatable {
    /// What identifies its run; empty without a cluster.
    public var id: NodeID
    /// Its name (`NODE_NAME`).
    public var name: String
    /// Its version of Sidesocket.
    public var version: String
    /// When it started, in milliseconds since 1970.
    public var startedAt: Int64
    /// Its WebSockets and event streams.
    public var connections: Int
    /// The channels that it subscribes to.
    public var channels: Int
    /// After how long without a sign of life it is taken for lost, in milliseconds.
    public var leaseMilliseconds: Int64
    /// A digest of the settings that have to be the same on all nodes.
    public var policies: String

    /// A node.
    public init(
        id: NodeID = "",
        name: String,
        version: String,
        startedAt: Int64,
        connections: Int,
        channels: Int,
        leaseMilliseconds: Int64,
        policies: String = ""
    ) {
        self.id = id
        self.name = name
        self.version = version
        self.startedAt = startedAt
        self.connections = connections
        self.channels = channels
        self.leaseMilliseconds = leaseMilliseconds
        self.policies = policies
    }
}

/// The cluster as the API lists it.
public struct ClusterInfo: Sendable, Equatable {
    /// The engine.
    public let engine: ClusterStatus
    /// The nodes that are alive, by name.
    public let nodes: [NodeInfo]
    /// What should not be so between the nodes, in sentences for an operator.
    public let warnings: [String]

    /// A cluster.
    public init(engine: ClusterStatus, nodes: [NodeInfo], warnings: [String] = []) {
        self.engine = engine
        self.nodes = nodes
        self.warnings = warnings
    }
}

/// The state of the engine.
public struct ClusterStatus: Sendable, Equatable {
    /// What it is, such as `redis`.
    public let kind: String
    /// Whether it is there.
    public let isUp: Bool
    /// How many nodes are alive.
    public let nodes: Int

    /// A state.
    public init(kind: String, isUp: Bool, nodes: Int = 1) {
        self.nodes = nodes
        self.kind = kind
        self.isUp = isUp
    }
}
