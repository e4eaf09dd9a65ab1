/// One master at an address that is given, or that Sentinels name.
final class SingleTopology: TopologyKeeper {
    private let shard: RedisShard
    private var sentinel: SentinelWatcher?

    init(address: RedisAddress, context: RedisContext, owner: any RedisShardOwner) {
        shard = RedisShard(id: .only, address: address, context: context, owner: owner, inCluster: false)
    }

    init(sentinels: [RedisAddress], service: String, context: RedisContext, owner: any RedisShardOwner) {
        shard = RedisShard(id: .only, address: nil, context: context, owner: owner, inCluster: false)
        let shard = shard
        sentinel = SentinelWatcher(addresses: sentinels, service: service, context: context) { address in
            shard.move(to: address, "The Sentinels name another master.")
        }
    }

    var shards: [RedisShard] { [shard] }
    var obstacle: String? { shard.address == nil ? sentinel?.obstacle : nil }

    func shard(forKey key: String?) -> RedisShard? { shard }
    func shard(at address: RedisAddress) -> RedisShard? { shard }

    func start() {
        shard.start()
        sentinel?.start()
    }

    func stop() { sentinel?.stop() }

    func shardFailed(_ shard: RedisShard, _ fault: ConnectionFault) { sentinel?.ask() }

    func learn(_ redirect: Redirect) {
        if redirect == .notMaster { sentinel?.ask() }
    }

    func subscriptionsRevoked() {}
}
