public import NIOCore

/// What a ``RedisClient`` tells, always on its event loop.
public protocol RedisClientDelegate: AnyObject {
    /// The command connection of a shard is up.
    func redisConnected(_ shard: RedisShardID, server: RedisServerInfo)
    /// The command connection of a shard is lost; once for each outage.
    func redisDisconnected(_ shard: RedisShardID, _ why: String)
    /// ``RedisClient/isUp`` has changed.
    func redisIsUpChanged(_ isUp: Bool, _ why: String)
    /// The replication id differs from the last one known, on the same connection or after a reconnect, so data may
    /// have gone back.
    func redisIdentityChanged(_ shard: RedisShardID)
    /// The server has confirmed a subscription: at first, and again after each ``redisInterrupted(_:)``.
    func redisSubscribed(_ channel: RedisChannel)
    /// The connection of these subscriptions was lost, or their slots have moved; messages may be missed until
    /// ``redisSubscribed(_:)`` follows.
    func redisInterrupted(_ channels: [RedisChannel])
    /// A message. The payload is a copy of its own where it would keep a much larger buffer alive.
    func redisReceived(_ channel: RedisChannel, _ payload: ByteBuffer)
    /// The end of a burst of reads in which something was received or subscribed.
    func redisReceiveComplete()
    /// The round trip of a probe.
    func redisProbed(_ seconds: TimeAmount)
    /// A new attempt to connect, after the first one; nil for a Sentinel or a node asked for the cluster's slots.
    func redisReconnecting(_ shard: RedisShardID?)
}
