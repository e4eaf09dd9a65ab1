import NIOCore
import SidecarCore
import Synchronization
import Testing

@testable import SidecarServer

/// An engine between nodes that a test answers for.
final class FakeEngine: ClusterEngine, ConnectionRegister, ClusterUsers, ClusterBans {
    struct Change: Sendable {
        let registered: [RegisteredConnection]
        let struck: [String]
        let answer: @Sendable (Bool) -> Void
    }

    private struct State: Sendable {
        var changes: [Change] = []
        var opens: [(user: UserName, limit: Int, answer: @Sendable (Bool) -> Void)] = []
        var closes: [UserName] = []
    }

    private let state = Mutex(State())

    /// The changes that have not been answered.
    var changes: [Change] { state.withLock { $0.changes } }
    /// The users whose connections have been asked for and not answered, with their limits.
    var opens: [(UserName, Int)] { state.withLock { $0.opens.map { ($0.user, $0.limit) } } }
    /// The users of whom a connection was given back.
    var closes: [UserName] { state.withLock { $0.closes } }

    /// Answers the oldest change.
    func answerChange(_ isDone: Bool) {
        guard let change = state.withLock({ $0.changes.isEmpty ? nil : $0.changes.removeFirst() }) else {
            Issue.record("no change has been asked for")
            return
        }
        change.answer(isDone)
    }
    /// Answers the oldest question for a user.
    func answerOpen(_ isGranted: Bool) {
        guard let open = state.withLock({ $0.opens.isEmpty ? nil : $0.opens.removeFirst() }) else {
            Issue.record("no user has been asked for")
            return
        }
        open.answer(isGranted)
    }

    // MARK: ConnectionRegister

    func change(
        register: [RegisteredConnection],
        strike: [String],
        _ completion: @escaping @Sendable (Bool) -> Void
    ) {
        state.withLock { $0.changes.append(Change(registered: register, struck: strike, answer: completion)) }
    }

    func claimed(among connections: [String]) async -> Set<String>? { [] }

    // MARK: ClusterUsers

    func open(_ user: UserName, limit: Int, _ completion: @escaping @Sendable (Bool) -> Void) {
        state.withLock { $0.opens.append((user, limit, completion)) }
    }

    func close(_ user: UserName) { state.withLock { $0.closes.append(user) } }

    // MARK: The rest is not used

    var directory: any ConnectionRegister { self }
    var users: any ClusterUsers { self }
    var bans: any ClusterBans { self }
    var status: ClusterStatus { ClusterStatus(kind: "fake", isUp: true) }

    func makeBroker(events: any ChannelBrokerEvents) -> any ChannelBroker {
        MemoryChannelBroker(settings: Settings(app: .tcp(host: "127.0.0.1", port: 9, tls: false)), events: events)
    }
    func start(_ node: any ClusterNode) {}
    func stop() async {}
    var nodeID: NodeID { "0000000000000001" }
    func nodes() async -> [NodeInfo] { [] }
    func warnings() async -> [String] { [] }
    func ask(_ nodes: [NodeID], _ request: NodeRequest) async -> [NodeID: NodeAnswer] { [:] }
    func others() async -> (nodes: [NodeInfo], areCurrent: Bool) { ([], true) }
    func subscribers(of channel: ChannelName) async throws(ChannelFailure) -> [NodeInfo] { [] }
    func park(_ session: String, _ record: [UInt8]) async -> Bool { false }
    func takeParked() async -> [ParkedSession] { [] }
    func told(of channel: ChannelName, isOccupied: Bool) {}
    func node(of connection: String) async -> NodeInfo? { nil }
    func put(_ ban: ClusterBan, isAutomatic: Bool) async throws(StoreFailure) -> BanTable.Addition { .added }
    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool { true }
}
