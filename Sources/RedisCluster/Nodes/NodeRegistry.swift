import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Keeps this node in the list of nodes, and clears up after those that are lost.
final class NodeRegistry {
    /// What this node tells of itself.
    typealias Describe = @Sendable () -> NodeInfo

    /// How many channels of a lost node are cleared at once.
    private static let clearedAtOnce: Int64 = 500

    private let context: NodeContext
    private let subscriptions: NodeSubscriptions
    private let describe: Describe
    private var judge: NodeJudge
    private var counter: UInt64 = 0
    private var isRegistered = false
    private(set) var nodes: [NodeInfo] = []
    /// Where other threads read their number.
    private let status: ClusterStatusBox
    /// Lost nodes that are being cleared up after, here or by another node.
    private var clearing: [String: NIODeadline] = [:]
    private var isStopping = false

    init(
        _ context: NodeContext,
        _ subscriptions: NodeSubscriptions,
        _ status: ClusterStatusBox,
        describe: @escaping Describe
    ) {
        self.context = context
        self.status = status
        self.subscriptions = subscriptions
        self.describe = describe
        judge = NodeJudge(
            lease: context.settings.lease,
            own: context.incarnation,
            name: context.settings.nodeName
        )
    }

    func start() { renew() }

    /// The link to the engine was down.
    func interrupted() { judge.interrupted() }

    private func renewLater() {
        guard !isStopping else { return }
        let pause = TimeAmount.nanoseconds(context.settings.lease.nanoseconds / 4)
        context.eventLoop.assumeIsolated().scheduleTask(in: pause) { [weak self] in self?.renew() }
    }

    private func renew() {
        guard !isStopping else { return }
        counter += 1
        let record = NodeRecord(info: describe(), counter: counter)
        let command = RedisCommand.run(
            NodeScripts.renew,
            keys: [context.keys.nodeList, context.keys.lostNodes],
            arguments: [.text(context.incarnation), .text(record.text)]
        )
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let value): renewed(value)
            case .failure: judge.interrupted()
            }
            renewLater()
        }
    }

    private func renewed(_ value: RESPValue) {
        guard let items = value.items, items.count == 3, let isNew = items[0].integer, let list = items[1].items,
            let lost = items[2].items
        else { return context.warn("the list of nodes cannot be read", [:]) }
        if isNew == 1, isRegistered, !isStopping {
            // The others have taken this node for lost, or the engine was emptied.
            context.warn("this node was not in the list of nodes any more; registering again", [:])
            subscriptions.suspect { _ in true }
        }
        isRegistered = true
        var records: [String: NodeRecord] = [:]
        var index = 0
        while index + 1 < list.count {
            if let incarnation = list[index].text, let text = list[index + 1].text {
                records[incarnation] = NodeRecord(text)
            }
            index += 2
        }
        nodes = records.values.map(\.info).sorted { $0.name < $1.name }
        status.nodes = nodes.count
        let verdict = judge.saw(records, at: .now())
        for incarnation in verdict.namesakes {
            context.warn(
                "another node keeps the same name; give each its own with NODE_NAME",
                ["name": "\(context.settings.nodeName)", "incarnation": "\(incarnation)"]
            )
        }
        for incarnation in verdict.lost { bury(incarnation, name: records[incarnation]?.info.name ?? "?") }
        clearLeftOvers(Set(lost.compactMap(\.text)))
    }

    // MARK: Lost nodes

    /// Takes a lost node out of the list; who succeeds clears up after it.
    private func bury(_ incarnation: String, name: String) {
        let command = RedisCommand.run(
            NodeScripts.bury,
            keys: [context.keys.nodeList, context.keys.lostNodes],
            arguments: [.text(incarnation)]
        )
        context.client.send(command) { [weak self] result in
            guard let self, (try? result.get())?.integer == 1 else { return }
            context.metrics.lostNodes.increment()
            context.warn("a node is lost", ["name": "\(name)", "incarnation": "\(incarnation)"])
            clearing[incarnation] = .now()
            clear(incarnation, tag: 0)
        }
    }

    /// Lost nodes that nobody seems to clear up after.
    private func clearLeftOvers(_ lost: Set<String>) {
        clearing = clearing.filter { lost.contains($0.key) }
        let now = NIODeadline.now()
        for incarnation in lost {
            guard let since = clearing[incarnation] else {
                clearing[incarnation] = now
                continue
            }
            guard now - since >= context.settings.lease * 2 else { continue }
            clearing[incarnation] = now
            clear(incarnation, tag: 0)
        }
    }

    /// Removes a lost node from its channels, tag by tag.
    private func clear(_ incarnation: String, tag: Int, _ completion: (() -> Void)? = nil) {
        let keys = context.keys
        guard tag < ClusterKeys.tags else {
            let command = RedisCommand("HDEL", [.text(keys.lostNodes), .text(incarnation)], slotKey: keys.lostNodes)
            return context.client.send(command) { [weak self] _ in
                self?.clearing[incarnation] = nil
                completion?()
            }
        }
        let command = RedisCommand.run(
            NodeScripts.clear,
            keys: [keys.channels(tag, of: incarnation), keys.published(tag, by: incarnation)],
            arguments: [.text(incarnation), .text(keys.nodesStem(tag)), .number(Self.clearedAtOnce)]
        )
        context.client.send(command) { [weak self] result in
            guard let self, let items = (try? result.get())?.items, items.count == 2, let count = items[0].integer,
                let vacated = items[1].items
            else {
                completion?()
                return  // it stays in the list of lost nodes
            }
            for name in vacated.compactMap({ $0.text.flatMap { ChannelName($0) } }) {
                context.events.occupancyChanged(name, isOccupied: false)
            }
            clear(incarnation, tag: count == 0 ? tag + 1 : tag, completion)
        }
    }

    /// Leaves the cluster in an orderly way.
    func stop(_ completion: @escaping () -> Void) {
        isStopping = true
        let list = context.keys.nodeList
        let command = RedisCommand("HDEL", [.text(list), .text(context.incarnation)], slotKey: list)
        context.client.send(command) { [weak self] result in
            guard let self, case .success = result else { return completion() }
            clear(context.incarnation, tag: 0, completion)
        }
    }
}
