import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Tells the app of the end of the connections of lost nodes: takes shares of them, few at a time, and strikes each when
/// the app has answered.
final class LostConnections {
    /// The most connections of a lost node that are taken at once, and when more are taken.
    private static let mostTaken = 50
    private static let refill = 25
    /// How long a lost node may register nothing, and how long it is remembered which connections were told, in ms.
    private static let memory: Int64 = 86_400_000

    private final class Lost {
        /// Connections that are taken and not told.
        var taken: Set<String> = []
        var isAsking = false
        /// Whether nothing is left to be taken.
        var isEmpty = false
    }

    private let context: NodeContext
    private var lost: [NodeID: Lost] = [:]
    private var isStopping = false

    init(_ context: NodeContext) { self.context = context }

    /// These nodes are lost, and have connections of whose end the app has not been told; those are alive.
    func saw(_ nodes: Set<NodeID>, alive: [NodeID]) {
        lost = lost.filter { nodes.contains($0.key) || !$0.value.taken.isEmpty }
        for node in nodes {
            guard let known = lost[node] else {
                lost[node] = Lost()
                take(node)
                continue
            }
            // Others may have died over what they had taken, and the engine may not know what this node has done.
            let own = context.incarnation
            if known.taken.isEmpty, known.isEmpty { giveBack(node, alive.filter { $0 != own }) } else { take(node) }
        }
    }

    private func take(_ node: NodeID) {
        guard let lost = lost[node], !lost.isAsking, lost.taken.count <= Self.refill, !isStopping else { return }
        lost.isAsking = true
        let keys = context.keys
        let command = RedisCommand.run(
            DirectoryScripts.claim,
            keys: [keys.registered(by: node), keys.claims(of: node), keys.buried(node)],
            arguments: [
                .text(context.incarnation), .number(Int64(Self.mostTaken - lost.taken.count)), .number(Self.memory),
            ]
        )
        context.client.send(command) { [weak self] result in
            lost.isAsking = false
            guard let items = (try? result.get())?.items, let others = items.first?.integer, items.count % 2 == 1 else {
                return  // the next look at the nodes tries again
            }
            self?.took(Array(items.dropFirst()), of: node, lost, others: others)
        }
    }

    private func took(_ items: [RESPValue], of node: NodeID, _ lost: Lost, others: Int64) {
        lost.isEmpty = items.isEmpty
        guard !items.isEmpty else {
            if others == 0, lost.taken.isEmpty { finish(node) }
            return
        }
        var connections: [RegisteredConnection] = []
        var index = 0
        while index + 1 < items.count {
            defer { index += 2 }
            guard let id = items[index].text else { continue }
            lost.taken.insert(id)
            let name = context.keys.told(id)
            // Sent before the app is told, so that the node does not tell it as well when it comes back.
            context.client.send(
                RedisCommand("SET", [.text(name), .text("1"), .text("PX"), .number(Self.memory)], slotKey: name)
            ) { _ in }
            guard let stored = items[index + 1].bytes,
                let connection = RegisteredRecord.read(stored, id: id, of: node, context.seal)
            else {
                context.warn(
                    "the end of a lost node's connection cannot be told to the app",
                    ["connection": "\(id)", "why": "its record was not made with this node's CLUSTER_SECRET"]
                )
                context.metrics.closeUndelivered.increment()
                told(id, node)
                continue
            }
            connections.append(connection)
        }
        guard let owner = context.link.node, !connections.isEmpty else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        owner.adopt(connections) { id in eventLoop.execute { bound.value.told(id, node) } }
    }

    /// The app has answered, or never will.
    private func told(_ id: String, _ node: NodeID) {
        lost[node]?.taken.remove(id)
        let name = context.keys.claims(of: node)
        context.client.send(RedisCommand("HDEL", [.text(name), .text(id)], slotKey: name)) { [weak self] _ in
            self?.take(node)
        }
    }

    private func giveBack(_ node: NodeID, _ alive: [NodeID]) {
        let command = RedisCommand.run(
            DirectoryScripts.giveBack,
            keys: [context.keys.registered(by: node), context.keys.claims(of: node)],
            arguments: alive.map { .text($0) }
        )
        context.client.send(command) { [weak self] _ in self?.take(node) }
    }

    private func finish(_ node: NodeID) {
        lost[node] = nil
        let name = context.keys.lostConnections
        context.client.send(RedisCommand("HDEL", [.text(name), .text(node)], slotKey: name)) { _ in }
    }

    /// Takes no more; what has been taken is given back by others.
    func stop() { isStopping = true }
}
