/// The engine that connects several nodes (`CLUSTER_URL`).
public protocol ClusterEngine: Sendable {
    /// Makes the broker of this node; called once, before ``start(describe:)``.
    func makeBroker(events: any ChannelBrokerEvents) -> any ChannelBroker
    /// Connects, now or as soon as the engine is there.
    ///
    /// - Parameter describe: What the other nodes are told of this one.
    func start(describe: @escaping @Sendable () -> NodeInfo)
    /// Leaves the cluster and ends the connections; gives up what has not been published.
    func stop() async
    /// The nodes that are alive, by name.
    func nodes() async -> [NodeInfo]
    /// Whether it is there.
    var status: ClusterStatus { get }
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
