public import NIOCore

/// The engine that connects several nodes (`CLUSTER_URL`).
public protocol ClusterEngine: Sendable {
    /// Makes the broker of this node; called once, before ``start(_:)``.
    func makeBroker(events: any ChannelBrokerEvents) -> any ChannelBroker
    /// Connects, now or as soon as the engine is there.
    func start(_ node: any ClusterNode)
    /// Leaves the cluster and ends the connections; gives up what has not been published.
    func stop() async
    /// Whether it is there.
    var status: ClusterStatus { get }

    // MARK: Nodes

    /// What identifies this run of the node for the others; it changes when they have taken it for lost.
    var nodeID: NodeID { get }
    /// The nodes that were alive at the last look, this one included, by name.
    func nodes() async -> [NodeInfo]
    /// What should not be so between the nodes, in sentences for an operator.
    func warnings() async -> [String]
    /// Asks other nodes. The answers come within `CLUSTER_TIMEOUT`, and may be fewer than the nodes.
    func ask(_ nodes: [NodeID], _ request: NodeRequest) async -> [NodeID: NodeAnswer]
    /// The other nodes that are alive; while the engine is away, those that were.
    func others() async -> (nodes: [NodeInfo], areCurrent: Bool)
    /// The other nodes that subscribe to a channel now.
    ///
    /// - Throws: `unavailable` when the engine cannot be reached.
    func subscribers(of channel: ChannelName) async throws(ChannelFailure) -> [NodeInfo]
    /// The other node that has registered a connection; nil when none has, or when it is not known.
    func node(of connection: String) async -> NodeInfo?

    /// Keeps a session of a node that stops, since there is no other one, for the next one that starts.
    ///
    /// - Parameter record: The session (``SessionRecord``).
    /// - Returns: Whether it is kept.
    func park(_ session: String, _ record: [UInt8]) async -> Bool
    /// Takes some of the sessions that are kept; none when there are no more, or the engine cannot be reached.
    func takeParked() async -> [ParkedSession]

    /// The app has been told whether a channel has subscribers, or need not be told any more.
    func told(of channel: ChannelName, isOccupied: Bool)
    /// The connections that are registered.
    var directory: any ConnectionRegister { get }
    /// Counts of users.
    var users: any ClusterUsers { get }
    /// Bans.
    var bans: any ClusterBans { get }
}

/// A session that the engine has kept.
public struct ParkedSession: Sendable, Equatable {
    /// The session (``SessionRecord``).
    public let record: [UInt8]
    /// For how long it was kept.
    public let age: TimeAmount

    /// A session.
    public init(record: [UInt8], age: TimeAmount) {
        self.record = record
        self.age = age
    }
}

/// What identifies one run of a node: random, and new after each restart.
public typealias NodeID = String

/// What an engine needs of its node, on any thread.
public protocol ClusterNode: AnyObject, Sendable {
    /// What the others are told of this node.
    var info: NodeInfo { get }
    /// Another node asks.
    func answer(_ request: NodeRequest, from node: NodeID) async -> NodeAnswer
    /// A publication was a repeat of an earlier one, so that no node gets it again (``ChannelEnvelope/report``).
    func wasRepeat(report: String)
    /// The bans that are in force, all of them.
    func bansChanged(_ bans: [ClusterBan])
    /// A user is connected to so many nodes, this one included.
    func userIsOn(_ nodes: Int, _ user: UserName)
    /// The list of nodes was read; these are alive, this one among them.
    func nodesAre(_ nodes: Set<NodeID>)
    /// Connections have to be registered again.
    func registerAgain(_ which: Reregistration)
    /// Connections of a lost node, of whose end the app is told here.
    ///
    /// - Parameter done: To be called for each when the app has answered, with `isOwed` false; or with true when it could
    ///   not be reached for so long that it has to be tried again later.
    func adopt(
        _ connections: [RegisteredConnection],
        done: @escaping @Sendable (_ id: String, _ isOwed: Bool) -> Void
    )
}

/// Which connections have to be registered again.
public enum Reregistration: Sendable, Equatable {
    /// Those whose registration has failed.
    case missing
    /// All of them: the engine may have lost some.
    case all
    /// All of them, since the node has a new identity, but for those that others have claimed, having taken it for lost:
    /// they tell the app of their end, so these are closed.
    case anew(claimed: Set<String>)
}

/// A connection as it is registered, so that another node can tell the app of its end.
public struct RegisteredConnection: Sendable, Equatable {
    /// Its id.
    public let id: String
    /// The facts for requests about it (``WebhookConnection/record``).
    public let connection: [UInt8]
    /// Who the client is (``ConnectionIdentity/record``).
    public let identity: [UInt8]

    /// A connection.
    public init(id: String, connection: [UInt8], identity: [UInt8]) {
        self.id = id
        self.connection = connection
        self.identity = identity
    }
}

/// The connections of this node as the others know them.
public protocol ConnectionRegister: Sendable {
    /// Registers connections, or what has changed of them, and strikes others.
    ///
    /// - Parameter completion: Called with whether it was done; within a bounded time, on any thread.
    func change(
        register: [RegisteredConnection],
        strike: [String],
        _ completion: @escaping @Sendable (Bool) -> Void
    )
    /// Of these connections, which an earlier process of this node has left, those of whose end other nodes tell the app.
    /// The others are this node's from now on. Nil when the engine cannot be reached.
    func claimed(among connections: [String]) async -> Set<String>?
}

/// Counts the connections of users over all nodes.
public protocol ClusterUsers: Sendable {
    /// Counts one more connection of a user, unless there are `limit` on all nodes together.
    ///
    /// While the engine is away, this node allows its share of the limit.
    ///
    /// - Parameter completion: Called with whether it counts; within a bounded time, on any thread.
    func open(_ user: UserName, limit: Int, _ completion: @escaping @Sendable (Bool) -> Void)
    /// Counts one connection less.
    func close(_ user: UserName)
}

/// A ban that holds on all nodes.
public struct ClusterBan: Sendable, Equatable {
    /// Whom it keeps out.
    public let subject: BanSubject
    /// How long from now.
    public let rest: TimeAmount
    /// When it ends, in milliseconds since 1970.
    public let expiresAt: Int64
    /// Why.
    public let reason: String

    /// A ban.
    public init(subject: BanSubject, rest: TimeAmount, expiresAt: Int64, reason: String) {
        self.subject = subject
        self.rest = rest
        self.expiresAt = expiresAt
        self.reason = reason
    }
}

/// Keeps the bans that hold on all nodes.
public protocol ClusterBans: Sendable {
    /// Adds a ban, or changes the end of an existing one.
    ///
    /// - Parameter isAutomatic: Whether no operator asked for it: then it never shortens another one, and uses at most
    ///   half of the capacity.
    func put(_ ban: ClusterBan, isAutomatic: Bool) async throws(StoreFailure) -> BanTable.Addition
    /// Ends a ban; false when there is none.
    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool
}
