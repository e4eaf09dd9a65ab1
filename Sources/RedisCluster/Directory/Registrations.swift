import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Stores the connections of this node, so that others can tell the app of their end.
final class Registrations {
    /// How many ids are asked for at once.
    private static let askedAtOnce = 500
    private static let pause = TimeAmount.milliseconds(20)

    private let context: NodeContext

    private let wasBuried: () -> Void

    /// - Parameter wasBuried: Called when the engine says that this node is taken for lost.
    init(_ context: NodeContext, wasBuried: @escaping () -> Void) {
        self.context = context
        self.wasBuried = wasBuried
    }

    func change(_ register: [RegisteredConnection], strike: [String], _ completion: @escaping (Bool) -> Void) {
        let (node, keys) = (context.incarnation, context.keys)
        let name = keys.registered(by: node)
        // What a node registers before it is in the list, nobody clears up.
        guard context.client.isUp(forKey: name), context.isListed else { return completion(false) }
        var arguments: [RedisArgument] = [.number(Int64(register.count))]
        for connection in register {
            arguments.append(.text(connection.id))
            arguments.append(.bytes(RegisteredRecord.write(connection, of: node, context.seal)))
        }
        for id in strike { arguments.append(.text(id)) }
        let command = RedisCommand.run(
            DirectoryScripts.change,
            keys: [name, keys.buried(node)],
            arguments: arguments
        )
        context.client.send(command) { [weak self] result in
            switch result {
            case .success(let value):
                completion(value.integer == 1)
                if value.integer == 0, node == self?.context.incarnation { self?.wasBuried() }
            case .failure(let failure):
                if case .refused(let reply) = failure {
                    self?.context.warn(
                        "connections cannot be registered in Redis",
                        ["why": "\(reply.sentence)"],
                        perMinute: NodeContext.fewLines
                    )
                }
                completion(false)
            }
        }
    }

    /// The node that has registered a connection, of those that are asked for.
    func owner(of connection: String, among nodes: [NodeInfo], _ completion: @escaping (NodeInfo?) -> Void) {
        var left = nodes.count
        var found: NodeInfo?
        guard left > 0, context.client.isUp else { return completion(nil) }
        for node in nodes {
            let name = context.keys.registered(by: node.id)
            let command = RedisCommand("HEXISTS", [.text(name), .text(connection)], slotKey: name)
            context.client.send(command) { result in
                if (try? result.get())?.integer == 1 { found = node }
                left -= 1
                if left == 0 { completion(found) }
            }
        }
    }

    // MARK: What an earlier process has left

    /// Of these connections, those of whose end other nodes tell the app; nil when that cannot be known in time.
    func claimed(
        among ids: [String],
        of nodes: @escaping (@escaping ([NodeID]?) -> Void) -> Void,
        _ completion: @escaping (Set<String>?) -> Void
    ) {
        whenUp(until: .now() + context.settings.timeout) { [weak self] isUp in
            guard isUp else { return completion(nil) }
            nodes { nodes in
                guard let self, let nodes else { return completion(nil) }
                let parts = stride(from: 0, to: ids.count, by: Self.askedAtOnce).map {
                    Array(ids[$0..<min($0 + Self.askedAtOnce, ids.count)])
                }
                self.reclaim(parts.flatMap { part in nodes.map { (part, $0) } }, ReclaimState(), ids, completion)
            }
        }
    }

    private struct ReclaimState {
        var claimed: Set<String> = []
        var taken: Set<String> = []
    }

    private func whenUp(until deadline: NIODeadline, _ body: @escaping (Bool) -> Void) {
        guard !context.client.isUp, .now() < deadline else { return body(context.client.isUp) }
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [weak self] in
            if let self { whenUp(until: deadline, body) } else { body(false) }
        }
    }

    /// Asks one part of one node after the other.
    private func reclaim(
        _ rest: [([String], NodeID)],
        _ state: ReclaimState,
        _ ids: [String],
        _ completion: @escaping (Set<String>?) -> Void
    ) {
        guard let (part, node) = rest.first else { return addTold(state, ids, completion) }
        let command = RedisCommand.run(
            DirectoryScripts.reclaim,
            keys: [context.keys.registered(by: node), context.keys.claims(of: node)],
            arguments: part.map { .text($0) }
        )
        context.client.send(command) { [weak self] result in
            guard let self, let items = (try? result.get())?.items, items.count == part.count else {
                return completion(nil)
            }
            var state = state
            for (id, item) in zip(part, items) {
                if item.integer == 1 { state.claimed.insert(id) }
                if item.integer == 2 { state.taken.insert(id) }
            }
            reclaim(Array(rest.dropFirst()), state, ids, completion)
        }
    }

    /// Adds those of whose end the app has been told already.
    private func addTold(_ state: ReclaimState, _ ids: [String], _ completion: @escaping (Set<String>?) -> Void) {
        let unknown = ids.filter { !state.claimed.contains($0) && !state.taken.contains($0) }
        var claimed = state.claimed
        var left = unknown.count
        guard left > 0 else { return completion(claimed) }
        var isComplete = true
        for id in unknown {
            let name = context.keys.told(id)
            context.client.send(RedisCommand("EXISTS", [.text(name)], slotKey: name)) { result in
                switch (try? result.get())?.integer {
                case 1?: claimed.insert(id)
                case nil: isComplete = false
                default: break
                }
                left -= 1
                if left == 0 { completion(isComplete ? claimed : nil) }
            }
        }
    }
}
