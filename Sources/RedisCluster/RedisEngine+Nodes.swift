import NIOCore
import RedisClient
public import SidecarCore
import Synchronization

/// Where the broker is found once it is made.
final class BrokerBox: Sendable {
    private let box = Mutex<RedisChannelBroker?>(nil)

    var broker: RedisChannelBroker? {
        get { box.withLock { $0 } }
        set { box.withLock { $0 = newValue } }
    }
}

/// The other nodes.
extension RedisEngine {
    /// See ``ClusterEngine``.
    public func nodes() async -> [NodeInfo] { await front.broker?.query { $1($0.registry.nodes) } ?? [] }

    /// See ``ClusterEngine``.
    public func warnings() async -> [String] { await front.broker?.query { $1($0.registry.warnings) } ?? [] }

    /// See ``ClusterEngine``.
    public func ask(_ nodes: [NodeID], _ request: NodeRequest) async -> [NodeID: NodeAnswer] {
        guard !nodes.isEmpty else { return [:] }
        return await front.broker?.query { $0.calls.ask(nodes, request, $1) } ?? [:]
    }

    /// See ``ClusterEngine``.
    public func park(_ session: String, _ record: [UInt8]) async -> Bool {
        await front.broker?.query { ParkedSessions.put(session, record, by: $0.context, $1) } ?? false
    }

    /// See ``ClusterEngine``.
    public func takeParked() async -> [ParkedSession] {
        await front.broker?.query { ParkedSessions.take(by: $0.context, $1) } ?? []
    }

    /// See ``ClusterEngine``.
    public func others() async -> (nodes: [NodeInfo], areCurrent: Bool) {
        await front.broker?.query { node, completion in
            node.readNodes { completion($0.map { ($0, true) } ?? (node.knownOthers, false)) }
        } ?? ([], false)
    }

    /// See ``ClusterEngine``.
    public func subscribers(of channel: ChannelName) async throws(ChannelFailure) -> [NodeInfo] {
        let found: [NodeInfo]?? = await front.broker?.query { node, completion in
            node.readSubscribers(of: channel, completion)
        }
        guard let found, let found else { throw .unavailable("Redis is away.") }
        return found
    }

    /// See ``ClusterEngine``.
    public func told(of channel: ChannelName, isOccupied: Bool) {
        guard let broker = front.broker, !broker.isStopped else { return }
        broker.perform { $0.subscriptions.told(of: channel, isOccupied: isOccupied) }
    }

    /// See ``ClusterEngine``.
    public func node(of connection: String) async -> NodeInfo? {
        await front.broker?.query { $0.registrations.owner(of: connection, among: $0.knownOthers, $1) } ?? nil
    }
}

extension RedisChannelNode {
    /// The other nodes at the last look.
    var knownOthers: [NodeInfo] { registry.nodes.filter { $0.id != context.incarnation } }

    /// Reads the other nodes; nil when that fails.
    func readNodes(_ completion: @escaping ([NodeInfo]?) -> Void) {
        let (name, own) = (context.keys.nodeList, context.incarnation)
        guard context.client.isUp else { return completion(nil) }
        context.client.send(RedisCommand("HGETALL", [.text(name)], slotKey: name)) { result in
            let records = (try? result.get()).flatMap { NodeRegistry.records($0) }
            completion(
                records?.values.map(\.info).filter { $0.id != own }.sorted { ($0.name, $0.id) < ($1.name, $1.id) }
            )
        }
    }

    /// Reads the other nodes that subscribe to a channel; nil when that fails.
    func readSubscribers(of channel: ChannelName, _ completion: @escaping ([NodeInfo]?) -> Void) {
        let name = context.keys.nodes(channel)
        guard context.client.isUp else { return completion(nil) }
        context.client.send(RedisCommand("HKEYS", [.text(name)], slotKey: name)) { [self] result in
            guard let items = (try? result.get())?.items else { return completion(nil) }
            let ids = Set(items.compactMap(\.text)).subtracting([context.incarnation])
            guard !ids.isEmpty else { return completion([]) }
            // Nodes that have just been lost are in no list any more.
            readNodes { completion($0?.filter { ids.contains($0.id) }) }
        }
    }

    /// Reads all nodes, live and lost; nil when that fails.
    func readAllNodes(_ completion: @escaping ([NodeID]?) -> Void) {
        let lost = context.keys.lostConnections
        readNodes { [self] nodes in
            guard let nodes else { return completion(nil) }
            context.client.send(RedisCommand("HKEYS", [.text(lost)], slotKey: lost)) { result in
                guard let items = (try? result.get())?.items else { return completion(nil) }
                completion(nodes.map(\.id) + items.compactMap(\.text))
            }
        }
    }
}

/// The connections of this node as the others know them.
struct RedisDirectory: ConnectionRegister {
    let front: BrokerBox

    func change(
        register: [RegisteredConnection],
        strike: [String],
        _ completion: @escaping @Sendable (Bool) -> Void
    ) {
        guard let broker = front.broker, !broker.isStopped else { return completion(false) }
        broker.perform { $0.registrations.change(register, strike: strike, completion) }
    }

    func claimed(among connections: [String]) async -> Set<String>? {
        await front.broker?.query { node, completion in
            node.registrations.claimed(among: connections, of: { node.readAllNodes($0) }, completion)
        } ?? nil
    }
}
