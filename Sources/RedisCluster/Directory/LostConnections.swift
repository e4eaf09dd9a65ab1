import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Tells the app of the end of the connections of lost nodes: takes shares of them, as slowly as a drain closes its own,
/// and strikes each when the app has answered.
final class LostConnections {
    /// The most connections of a lost node that are under way at once.
    private static let mostTaken = 50
    private static let mostFailures = 3
    /// How often more are taken.
    private static let tick = TimeAmount.milliseconds(20)
    /// How long a lost node may register nothing, and how long it is remembered which connections were told, in ms.
    private static let memory: Int64 = 86_400_000

    private final class Lost {
        /// Connections that are taken and not told, with their records.
        var taken: [String: ByteBuffer] = [:]
        /// When this node takes its share; nil before it knows how many there are.
        var schedule: DrainSchedule?
        /// How many of the share are due and not taken.
        var due = 1
        var isAsking = false
        var isTicking = false
        /// Whether nothing is left to be taken.
        var isEmpty = false
        /// How many times in a row nothing that was taken could be read; or the most when the app was away.
        var failures = 0
        var hasWarned = false
        /// Whether the next look at the nodes goes on.
        var isPausing: Bool { failures >= LostConnections.mostFailures }
    }

    private let context: NodeContext
    private var lost: [NodeID: Lost] = [:]
    private var survivors = 1
    private var isStopping = false

    init(_ context: NodeContext) { self.context = context }

    /// These nodes are lost, and have connections of whose end the app has not been told; those are alive.
    func saw(_ nodes: Set<NodeID>, alive: [NodeID]) {
        survivors = max(1, alive.count)
        lost = lost.filter { nodes.contains($0.key) || !$0.value.taken.isEmpty }
        for node in nodes where !alive.contains(node) {
            guard let known = lost[node] else {
                lost[node] = Lost()
                take(node)
                continue
            }
            let wasPausing = known.isPausing
            known.failures = 0
            guard known.taken.isEmpty, known.isEmpty || wasPausing else {
                tickLater(node, known)
                continue
            }
            // Others may have died over what they had taken, and the engine may not know what this node has done.
            let own = context.incarnation
            giveBack(node, alive.filter { $0 != own })
        }
    }

    private func tickLater(_ node: NodeID, _ lost: Lost) {
        guard !lost.isTicking, !isStopping else { return }
        lost.isTicking = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.tick) { [weak self] in
            lost.isTicking = false
            self?.take(node)
        }
    }

    /// Takes what is due.
    private func take(_ node: NodeID) {
        guard let lost = lost[node], !lost.isAsking, !isStopping else { return }
        if var schedule = lost.schedule {
            lost.due += schedule.take(at: .now())
            lost.schedule = schedule
        }
        guard !lost.isPausing else { return }
        let count = min(lost.due, Self.mostTaken - lost.taken.count)
        guard count > 0 else { return tickLater(node, lost) }
        lost.isAsking = true
        lost.due -= count
        let keys = context.keys
        let command = RedisCommand.run(
            DirectoryScripts.claim,
            keys: [
                keys.registered(by: node), keys.claims(of: node), keys.buried(node), keys.taken(from: node),
            ],
            arguments: [.text(context.incarnation), .number(Int64(count)), .number(Self.memory)]
        )
        context.client.send(command) { [weak self] result in
            lost.isAsking = false
            if case .failure(.refused(let reply)) = result {
                self?.context.warn(
                    "connections of a lost node cannot be taken over",
                    ["incarnation": "\(node)", "why": "\(reply.sentence)"],
                    perMinute: NodeContext.fewLines
                )
            }
            guard let items = (try? result.get())?.items, items.count >= 2, items.count % 2 == 0,
                let others = items[0].integer, let left = items[1].integer
            else {
                lost.due += count
                return  // the next look at the nodes tries again
            }
            self?.took(Array(items.dropFirst(2)), of: node, lost, others: others, left: Int(clamping: left))
        }
    }

    private func took(_ items: [RESPValue], of node: NodeID, _ lost: Lost, others: Int64, left: Int) {
        lost.isEmpty = left == 0
        guard !lost.isEmpty || !items.isEmpty else {
            if others == 0, lost.taken.isEmpty { finish(node) }
            return
        }
        if left > 0, lost.schedule?.isOver ?? true {
            // The others take as many meanwhile; what they leave is shared again.
            lost.schedule = DrainSchedule(
                total: (left + survivors - 1) / survivors,
                startedAt: .now() + Self.tick,
                span: DrainSchedule.span(connections: left, atMost: context.settings.closeSpan)
            )
        }
        if left > 0 { tickLater(node, lost) }
        var connections: [RegisteredConnection] = []
        var unreadable = 0
        var index = 0
        while index + 1 < items.count {
            defer { index += 2 }
            guard let id = items[index].text, let stored = items[index + 1].bytes else { continue }
            guard let connection = RegisteredRecord.read(stored, id: id, of: node, context.seal) else {
                giveBack(id, stored, of: node)
                unreadable += 1
                continue
            }
            lost.taken[id] = stored
            let name = context.keys.told(id)
            // Sent before the app is told, so that the node does not tell it as well when it comes back.
            context.client.send(
                RedisCommand("SET", [.text(name), .text("1"), .text("PX"), .number(Self.memory)], slotKey: name)
            ) { _ in }
            connections.append(connection)
        }
        if unreadable > 0 {
            tellOfUnreadable(node, lost)
            lost.isEmpty = false
            lost.due += unreadable
            tickLater(node, lost)
        }
        if !connections.isEmpty { lost.failures = 0 } else if !items.isEmpty { lost.failures += 1 }
        guard let owner = context.link.node, !connections.isEmpty else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        owner.adopt(connections) { id, isOwed in eventLoop.execute { bound.value.told(id, node, isOwed) } }
    }

    private func tellOfUnreadable(_ node: NodeID, _ lost: Lost) {
        guard !lost.hasWarned else { return }
        lost.hasWarned = true
        context.warn(
            "the ends of a lost node's connections cannot be told to the app by this node",
            [
                "incarnation": "\(node)",
                "why": "it had another SIDESOCKET_CLUSTER_SECRET, or somebody else has written to Redis",
            ]
        )
    }

    /// Leaves a connection to others, or to a later attempt.
    private func giveBack(_ id: String, _ stored: ByteBuffer, of node: NodeID) {
        let command = RedisCommand.run(
            DirectoryScripts.giveBackOne,
            keys: givenBack(node),
            arguments: [.text(id), .bytes(stored)]
        )
        context.client.send(command) { _ in }
    }

    /// The app has answered, or could not be reached for long.
    private func told(_ id: String, _ node: NodeID, _ isOwed: Bool) {
        let stored = lost[node]?.taken.removeValue(forKey: id)
        if isOwed, let stored, let lost = lost[node] {
            lost.isEmpty = false
            lost.failures = Self.mostFailures
            return giveBack(id, stored, of: node)
        }
        let name = context.keys.claims(of: node)
        context.client.send(RedisCommand("HDEL", [.text(name), .text(id)], slotKey: name)) { [weak self] _ in
            guard let self, let lost = lost[node], lost.isEmpty, lost.taken.isEmpty else { return }
            // The last one: looks whether all is done.
            lost.due = max(1, lost.due)
            take(node)
        }
    }

    private func giveBack(_ node: NodeID, _ alive: [NodeID]) {
        let command = RedisCommand.run(
            DirectoryScripts.giveBack,
            keys: givenBack(node),
            arguments: alive.map { .text($0) }
        )
        context.client.send(command) { [weak self] _ in
            guard let self, let lost = lost[node] else { return }
            lost.due = max(1, lost.due)
            take(node)
        }
    }

    private func givenBack(_ node: NodeID) -> [String] {
        [context.keys.registered(by: node), context.keys.claims(of: node), context.keys.taken(from: node)]
    }

    private func finish(_ node: NodeID) {
        lost[node] = nil
        let name = context.keys.lostConnections
        context.client.send(RedisCommand("HDEL", [.text(name), .text(node)], slotKey: name)) { _ in }
    }

    /// Takes no more; what has been taken is given back by others.
    func stop() { isStopping = true }
}
