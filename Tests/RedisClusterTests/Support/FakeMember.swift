import SidecarCore
import Synchronization

@testable import RedisCluster

/// What stands in a node's place: answers with its name, and records what it is told.
final class FakeMember: ClusterNode {
    struct Told: Sendable {
        var requests: [NodeRequest] = []
        var bans: [ClusterBan] = []
        var again: [Reregistration] = []
        var adopted: [RegisteredConnection] = []
        var isHolding = false
        var failing = 0
        var held: [@Sendable () -> Void] = []
    }

    let name: String
    private let told = Mutex(Told())

    init(_ name: String) { self.name = name }

    var requests: [NodeRequest] { told.withLock { $0.requests } }
    var bans: [ClusterBan] { told.withLock { $0.bans } }
    var again: [Reregistration] { told.withLock { $0.again } }
    var adopted: [String] { told.withLock { $0.adopted.map(\.id) } }
    var adoptedConnections: [RegisteredConnection] { told.withLock { $0.adopted } }

    /// The app cannot be reached for this many.
    func fail(_ count: Int) { told.withLock { $0.failing = count } }

    /// From now on the app does not answer.
    func hold() { told.withLock { $0.isHolding = true } }

    // MARK: ClusterNode

    var info: NodeInfo { .test(name) }

    func answer(_ request: NodeRequest, from node: NodeID) async -> NodeAnswer {
        told.withLock { $0.requests.append(request) }
        return .failed(.refused(name))
    }

    func wasRepeat(report: String) {}
    func bansChanged(_ bans: [ClusterBan]) { told.withLock { $0.bans = bans } }
    func userIsOn(_ nodes: Int, _ user: UserName) {}
    func nodesAre(_ nodes: Set<NodeID>) {}
    func registerAgain(_ which: Reregistration) { told.withLock { $0.again.append(which) } }

    func adopt(
        _ connections: [RegisteredConnection],
        done: @escaping @Sendable (_ id: String, _ isOwed: Bool) -> Void
    ) {
        let (isHolding, failing) = told.withLock { told in
            let failing = min(told.failing, connections.count)
            told.failing -= failing
            told.adopted += connections.dropFirst(failing)
            return (told.isHolding, failing)
        }
        guard !isHolding else { return }
        for (number, connection) in connections.enumerated() { done(connection.id, number < failing) }
    }
}

extension ClusterLink {
    /// A link to a node that answers nothing.
    static func test(_ member: any ClusterNode = FakeMember("node")) -> ClusterLink {
        let link = ClusterLink()
        link.node = member
        return link
    }
}
