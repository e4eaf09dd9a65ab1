/// Who knows the masters.
protocol TopologyKeeper: AnyObject {
    /// All masters that are known.
    var shards: [RedisShard] { get }
    /// Why there are none yet; nil when they are known, or nothing has gone wrong.
    var obstacle: String? { get }
    /// The master of a key, or any master; nil when it is not known.
    func shard(forKey key: String?) -> RedisShard?
    /// Begins to look.
    func start()
    /// Ends it, with the shards.
    func stop()
    /// A connection to a shard could not be made, or is lost.
    func shardFailed(_ shard: RedisShard, _ fault: ConnectionFault)
    /// A reply has told something about the masters.
    func learn(_ redirect: Redirect)
    /// A server has ended subscriptions: their slot has moved.
    func subscriptionsRevoked()
    /// The master to ask after an `ASK`.
    func shard(at address: RedisAddress) -> RedisShard?
}
