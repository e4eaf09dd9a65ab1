import NIOCore

/// Who is told that slots have moved.
protocol ClusterTopologyOwner: RedisShardOwner {
    /// Slots have another owner now; each with the one before.
    func slotsMoved(_ moves: [SlotMove], _ why: String)
}

/// A slot that has another owner than before.
struct SlotMove {
    let slot: Int
    let from: RedisShard?
}

/// The masters of a cluster, found by asking any node for the slots.
final class ClusterTopology: TopologyKeeper {
    /// The slots are looked at so often without any reason.
    static var refreshInterval: TimeAmount { .seconds(15) }
    /// They are not looked at more often than this, whatever happens.
    static var minRefreshInterval: TimeAmount { .milliseconds(200) }
    /// A server that was only used for `ASK` is forgotten after this.
    static var temporaryLifetime: TimeAmount { .seconds(60) }
    /// More servers than this are not kept: no cluster is so large.
    static var maxShards: Int { 1_024 }

    private let context: RedisContext
    private weak var owner: (any ClusterTopologyOwner)?
    private let discovery: ClusterDiscovery
    private var table = SlotTable()
    private var byAddress: [RedisAddress: RedisShard] = [:]
    private var timer: LoopTimer?
    private var isRefreshing = false
    private var refreshedAt: NIODeadline?
    private var isStopped = false

    init(seeds: [RedisAddress], context: RedisContext, owner: any ClusterTopologyOwner) {
        self.context = context
        self.owner = owner
        discovery = ClusterDiscovery(seeds: seeds, context: context)
        timer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.ask() }
    }

    var shards: [RedisShard] { Array(byAddress.values) }
    var obstacle: String? { table.masters.isEmpty ? discovery.obstacle ?? "No node has told the slots yet." : nil }

    func start() { ask() }

    func stop() {
        isStopped = true
        timer?.cancel()
        discovery.stop()
    }

    func shard(forKey key: String?) -> RedisShard? {
        if let key { return table.owner(of: HashSlot.of(key)).flatMap { byAddress[$0] } }
        let masters = table.masters.lazy.compactMap { self.byAddress[$0] }
        return masters.first(where: \.isUp) ?? masters.first
    }

    func shard(at address: RedisAddress) -> RedisShard? {
        if let shard = byAddress[address] { return shard }
        return makeShard(address, isTemporary: true)
    }

    private func makeShard(_ address: RedisAddress, isTemporary: Bool) -> RedisShard? {
        guard let owner, !isStopped, byAddress.count < Self.maxShards else { return nil }
        let shard = RedisShard(
            id: RedisShardID("\(address)"),
            address: address,
            context: context,
            owner: owner,
            inCluster: true,
            isTemporary: isTemporary
        )
        byAddress[address] = shard
        shard.start()
        return shard
    }

    // MARK: Reasons to look

    func shardFailed(_ shard: RedisShard, _ fault: ConnectionFault) { refresh() }

    func subscriptionsRevoked() { refresh() }

    func learn(_ redirect: Redirect) {
        switch redirect {
        case .moved(let slot, let address):
            // What else has moved is asked for: mostly it is not only this slot.
            refresh()
            guard table.owner(of: slot) != address else { return }
            var changed = table
            changed.setOwner(of: slot, address)
            use(changed, changes: [slot], "A slot has moved.")
        case .notMaster, .clusterDown: refresh()
        case .ask, .loading, .tryAgain: break
        }
    }

    /// Looks as soon as that is allowed.
    private func refresh() {
        guard !isStopped, !isRefreshing else { return }
        let now = context.eventLoop.now
        timer?.setNoLater(than: max(now, (refreshedAt ?? now) + Self.minRefreshInterval))
    }

    // MARK: Looking

    private func ask() {
        guard !isStopped, !isRefreshing else { return }
        isRefreshing = true
        let connections = byAddress.values.compactMap(\.commandConnection)
        discovery.ask(connections.randomElement(), knownNodes: table.nodes) { [weak self] table in
            self?.answered(table)
        }
    }

    private func answered(_ answer: SlotTable?) {
        guard !isStopped else { return }
        isRefreshing = false
        refreshedAt = context.eventLoop.now
        timer?.setNoLater(than: context.eventLoop.now + (answer == nil ? .milliseconds(500) : Self.refreshInterval))
        guard let answer else { return }
        use(answer, changes: answer.changes(from: table), "The slots are known.")
        forgetOthers()
    }

    /// Makes a table the current one.
    private func use(_ new: SlotTable, changes: [Int], _ why: String) {
        let moves = changes.map { SlotMove(slot: $0, from: table.owner(of: $0).flatMap { byAddress[$0] }) }
        table = new
        for master in new.masters {
            if let shard = byAddress[master] {
                shard.becomePermanent()
            } else {
                _ = makeShard(master, isTemporary: false)
            }
        }
        if !moves.isEmpty { owner?.slotsMoved(moves, why) }
    }

    /// Ends the connections to servers that own nothing any more.
    private func forgetOthers() {
        let masters = Set(table.masters)
        let now = context.eventLoop.now
        for (address, shard) in byAddress where !masters.contains(address) {
            if shard.isTemporary, now - shard.usedAt < Self.temporaryLifetime { continue }
            byAddress[address] = nil
            let why = "\(address) owns no slots any more."
            for request in shard.stop(.role(why)) { owner?.requestReturned(request, why) }
            owner?.shardChanged(shard, why)
        }
    }
}
