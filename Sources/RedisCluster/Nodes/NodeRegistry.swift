import CoreMetrics
import Logging
import NIOCore
import RedisClient
import SidecarCore

/// Keeps this node in the list of nodes, and finds those that are lost.
final class NodeRegistry {
    /// How many channels of a lost node are cleared at once.
    private static let clearedAtOnce: Int64 = 500
    private static let shortestPause = TimeAmount.milliseconds(100)
    /// How long a node that was lost may register nothing, in milliseconds.
    private static let burialTime: Int64 = 86_400_000
    /// How many earlier identities are remembered.
    private static let mostFormer = 8

    private let context: NodeContext
    private let subscriptions: NodeSubscriptions
    private var judge: NodeJudge
    private var counter: UInt64 = 0
    private var isRegistered = false
    private(set) var nodes: [NodeInfo] = []
    /// The names that several nodes have kept for long.
    private(set) var sharedNames: Set<String> = []
    private var hasToldOfPolicies = false
    /// Where other threads read their number.
    private let status: ClusterStatusBox
    /// Lost nodes that are being cleared up after, here or by another node.
    private var clearing: [String: NIODeadline] = [:]
    /// Its earlier identities, the newest first.
    private var former: [NodeID] = []
    private var isStopping = false
    private var isRejoining = false
    private var nextRenewal: Scheduled<Void>?
    private var nextVerdict: TimeAmount?
    private var lastMeeting = NIODeadline.distantPast
    /// What else hangs on the list of nodes.
    weak var delegate: (any NodeRegistryDelegate)?

    init(_ context: NodeContext, _ subscriptions: NodeSubscriptions, _ status: ClusterStatusBox) {
        self.context = context
        self.status = status
        self.subscriptions = subscriptions
        context.isListed = false
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
        // A node whose counter stands still is found lost as soon as its time is over.
        let pause = min(
            TimeAmount.nanoseconds(context.settings.lease.nanoseconds / 4),
            max(nextVerdict ?? .hours(1), Self.shortestPause)
        )
        nextRenewal?.cancel()
        nextRenewal = context.eventLoop.assumeIsolated().scheduleTask(in: pause) { [weak self] in self?.renew() }
    }

    private func renew() {
        guard !isStopping else { return }
        // Whoever is in the list is asked, so it has to listen.
        guard isRegistered || delegate?.isListening == true else { return renewLater() }
        counter += 1
        let record = NodeRecord(info: context.link.info, counter: counter)
        let keys = context.keys
        let command = RedisCommand.run(
            NodeScripts.renew,
            keys: [keys.nodeList, keys.lostNodes, keys.lostConnections, keys.banVersion],
            arguments: [.text(context.incarnation), .text(record.text), .text(isRegistered ? "1" : "0")]
        )
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            switch result {
            case .success(let value): renewed(value)
            case .failure(let failure):
                if case .refused(let reply) = failure {
                    context.warn(
                        "this node cannot keep its place in the list of nodes",
                        ["why": "\(reply.sentence)"],
                        perMinute: NodeContext.fewLines
                    )
                }
                judge.interrupted()
                nextVerdict = nil
            }
            renewLater()
        }
    }

    /// The node listens: it may be in the list from now on.
    func listens() {
        if !isRegistered { renew() }
    }

    /// Another node has asked: if it is not known, the list has changed.
    func met(_ node: NodeID) {
        guard isRegistered, !nodes.contains(where: { $0.id == node }), .now() - lastMeeting >= .seconds(1) else {
            return
        }
        lastMeeting = .now()
        renew()
    }

    private func renewed(_ value: RESPValue) {
        guard let items = value.items, items.count == 5, let isNew = items[0].integer,
            let lost = items[2].items, let lostConnections = items[3].items, let bans = items[4].integer,
            let records = Self.records(items[1])
        else { return context.warn("the list of nodes cannot be read", [:]) }
        if isNew == 1, isRegistered, !isStopping {
            // The others have taken this node for lost, or the engine was emptied.
            context.warn(
                "this node is not in the list of nodes any more: it was taken for lost, or Redis was emptied; joining again",
                [:]
            )
            return rejoin()
        }
        let hasEntered = !isRegistered
        isRegistered = true
        context.isListed = true
        nodes = records.values.map(\.info).sorted { ($0.name, $0.id) < ($1.name, $1.id) }
        status.nodes = nodes.count
        if hasEntered {
            context.note("this node is in the cluster", ["nodes": "\(nodes.map(\.name).joined(separator: ", "))"])
        }
        if hasEntered { delegate?.registryEntered(among: nodes.map(\.id).filter { $0 != context.incarnation }) }
        let verdict = judge.saw(records, at: .now())
        nextVerdict = judge.nextVerdict(records, at: .now())
        for incarnation in verdict.namesakes { tellOfNamesake(incarnation) }
        // After an interruption the judge has to see them anew.
        let counts = Dictionary(nodes.map { ($0.name, 1) }, uniquingKeysWith: +)
        sharedNames = sharedNames.union(verdict.sharedNames).filter { counts[$0, default: 0] > 1 }
        tellOfPolicies()
        for incarnation in verdict.lost { bury(incarnation, name: records[incarnation]?.info.name ?? "?") }
        clearLeftOvers(Set(lost.compactMap(\.text)))
        delegate?.registryRenewed(
            lost: Set(lostConnections.compactMap(\.text)),
            alive: nodes.map(\.id),
            bansVersion: bans
        )
    }

    /// The records in an answer, by node; nil for a malformed answer.
    static func records(_ value: RESPValue) -> [NodeID: NodeRecord]? {
        guard let list = value.items else { return nil }
        var records: [NodeID: NodeRecord] = [:]
        var index = 0
        while index + 1 < list.count {
            if let node = list[index].text, let text = list[index + 1].text {
                records[node] = NodeRecord(text, id: node)
            }
            index += 2
        }
        return records
    }

    private func tellOfNamesake(_ incarnation: NodeID) {
        context.complain(
            "another node keeps the same name; give each its own with SIDESOCKET_NODE_NAME",
            ["name": "\(context.settings.nodeName)", "incarnation": "\(incarnation)"]
        )
    }

    // MARK: What should not be so

    /// In sentences for an operator.
    var warnings: [String] {
        var warnings = sharedNames.sorted().map {
            "Several nodes are named \($0); give each its own name with SIDESOCKET_NODE_NAME."
        }
        if policiesDiffer {
            warnings.append(
                "Channel policies differ between the nodes: set the same CHANNEL_POLICIES, HISTORY_SIZE, HISTORY_TTL and "
                    + "CHANNEL_EVENTS on all of them."
            )
        }
        return warnings
    }

    private var policiesDiffer: Bool { Set(nodes.map(\.policies)).count > 1 }

    private func tellOfPolicies() {
        defer { hasToldOfPolicies = policiesDiffer }
        if policiesDiffer, !hasToldOfPolicies { context.warn("channel policies differ between the nodes", [:]) }
    }

    // MARK: Coming back

    /// The others take this node for lost, although it is in the list.
    func wasBuried() {
        guard isRegistered, !isStopping else { return }
        context.warn("this node was taken for lost; joining again", [:])
        rejoin()
    }

    /// Begins again under a new identity: takes those connections along that no other node has claimed. After a failover
    /// the engine may still have identities that were given up at another server.
    private func rejoin() {
        guard !isRejoining else { return }
        isRejoining = true
        // The present one last: until then it keeps its connections.
        recover(ArraySlice(former + [context.incarnation]), claimed: [])
    }

    private func recover(_ identities: ArraySlice<NodeID>, claimed: Set<String>) {
        guard let identity = identities.first else {
            isRejoining = false
            return enterAnew(claimed)
        }
        let keys = context.keys
        let command = RedisCommand.run(
            DirectoryScripts.recover,
            keys: [keys.registered(by: identity), keys.buried(identity), keys.taken(from: identity)],
            arguments: [.number(Self.burialTime)]
        )
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            guard let items = (try? result.get())?.items else {
                isRejoining = false
                return  // the next renewal tries again
            }
            recover(identities.dropFirst(), claimed: claimed.union(items.compactMap(\.text)))
        }
    }

    private func enterAnew(_ claimed: Set<String>) {
        let (old, keys) = (context.incarnation, context.keys)
        let (list, lost) = (keys.nodeList, keys.lostNodes)
        context.client.send(RedisCommand("HDEL", [.text(list), .text(old)], slotKey: list)) { _ in }
        // Whoever looks next takes what the old identity has left out of channels and counts.
        context.client.send(RedisCommand("HSET", [.text(lost), .text(old), .text("1")], slotKey: lost)) { _ in }
        for identity in former {
            let command = RedisCommand.run(
                NodeScripts.bury,
                keys: [list, lost, keys.lostConnections],
                arguments: [.text(identity)]
            )
            context.client.send(command) { _ in }
        }
        former = Array(([old] + former).prefix(Self.mostFormer))
        isRegistered = false
        context.isListed = false
        context.incarnation = .newNode()
        judge.rename(context.incarnation)
        judge.interrupted()
        subscriptions.suspect { _ in true }
        delegate?.registryRejoins(.anew(claimed: claimed))
    }

    // MARK: Lost nodes

    /// Takes a lost node out of the list; who succeeds clears up after it.
    private func bury(_ incarnation: String, name: String) {
        let command = RedisCommand.run(
            NodeScripts.bury,
            keys: [context.keys.nodeList, context.keys.lostNodes, context.keys.lostConnections],
            arguments: [.text(incarnation)]
        )
        context.client.send(command) { [weak self] result in
            guard let self else { return }
            // It stays in the list, and the next look tries again.
            if case .failure(.refused(let reply)) = result {
                context.warn(
                    "a lost node cannot be taken out of the list of nodes",
                    ["name": "\(name)", "incarnation": "\(incarnation)", "why": "\(reply.sentence)"],
                    perMinute: NodeContext.fewLines
                )
            }
            guard (try? result.get())?.integer == 1 else { return }
            context.metrics.lostNodes.increment()
            context.warn("a node is lost", ["name": "\(name)", "incarnation": "\(incarnation)"])
            clearing[incarnation] = .now()
            clear(incarnation, tag: 0)
            delegate?.registryLost(incarnation, alive: nodes.map(\.id).filter { $0 != incarnation })
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
            guard let delegate else { return cleared(incarnation, completion) }
            return delegate.registryClearsUsers(of: incarnation) { [weak self] isDone in
                // Otherwise it stays in the list of lost nodes.
                if let self, isDone { cleared(incarnation, completion) } else { completion?() }
            }
        }
        let command = RedisCommand.run(
            NodeScripts.clear,
            keys: [
                keys.channels(tag, of: incarnation), keys.published(tag, by: incarnation),
                keys.owedEvents(tag, of: incarnation), keys.owedEvents(tag, of: context.incarnation),
            ],
            arguments: [
                .text(incarnation), .text(keys.nodesStem(tag)), .number(Self.clearedAtOnce),
                .text(context.settings.channelEvents ? "1" : "0"),
            ]
        )
        context.client.send(command) { [weak self] result in
            guard let self, let items = (try? result.get())?.items, items.count == 3, let count = items[0].integer,
                let vacated = items[1].items, let occupied = items[2].items
            else {
                completion?()
                return  // it stays in the list of lost nodes
            }
            for (names, isOccupied) in [(vacated, false), (occupied, true)] {
                for name in names.compactMap({ $0.text.flatMap { ChannelName($0) } }) {
                    context.events.occupancyChanged(name, isOccupied: isOccupied)
                }
            }
            clear(incarnation, tag: count == 0 ? tag + 1 : tag, completion)
        }
    }

    private func cleared(_ incarnation: String, _ completion: (() -> Void)?) {
        let name = context.keys.lostNodes
        // What the app has not been told before this node ends, another one tells.
        let command =
            incarnation == context.incarnation && context.settings.channelEvents
            ? RedisCommand("HSET", [.text(name), .text(incarnation), .text("1")], slotKey: name)
            : RedisCommand("HDEL", [.text(name), .text(incarnation)], slotKey: name)
        context.client.send(command) { [weak self] _ in
            self?.clearing[incarnation] = nil
            completion?()
        }
    }

    /// Leaves the cluster in an orderly way.
    func stop(_ completion: @escaping () -> Void) {
        isStopping = true
        let registered = context.keys.registered(by: context.incarnation)
        context.client.send(RedisCommand("HLEN", [.text(registered)], slotKey: registered)) { [weak self] result in
            // It stays in the list of nodes, so that the others find it lost.
            guard let self, let left = (try? result.get())?.integer else { return completion() }
            guard left > 0 else { return leave(completion) }
            // The others tell the app of their end.
            let lost = context.keys.lostConnections
            let command = RedisCommand("HSET", [.text(lost), .text(context.incarnation), .text("1")], slotKey: lost)
            context.client.send(command) { [weak self] result in
                guard let self, case .success = result else { return completion() }
                leave(completion)
            }
        }
    }

    private func leave(_ completion: @escaping () -> Void) {
        let list = context.keys.nodeList
        let command = RedisCommand("HDEL", [.text(list), .text(context.incarnation)], slotKey: list)
        context.client.send(command) { [weak self] result in
            guard let self, case .success = result else { return completion() }
            clear(context.incarnation, tag: 0, completion)
        }
    }
}

/// What hangs on the list of nodes.
protocol NodeRegistryDelegate: AnyObject {
    /// Whether other nodes can ask this one.
    var isListening: Bool { get }
    /// The list was read.
    ///
    /// - Parameter lost: Lost nodes with connections of whose end the app has not been told.
    func registryRenewed(lost: Set<NodeID>, alive: [NodeID], bansVersion: Int64)
    /// This node has come into the list.
    func registryEntered(among others: [NodeID])
    /// This node has found another one lost.
    func registryLost(_ node: NodeID, alive: [NodeID])
    /// Takes a lost node's users out of the counts.
    func registryClearsUsers(of node: NodeID, _ completion: @escaping (Bool) -> Void)
    /// This node has a new identity.
    func registryRejoins(_ which: Reregistration)
}

extension String {
    /// A new identity of a node.
    static func newNode() -> NodeID { MessageID(.random(in: 1 ... .max)).description }
}
