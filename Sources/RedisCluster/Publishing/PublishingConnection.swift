import NIOCore
import RedisClient

/// What is told of the connections that only publish, with `CLUSTER_MIN_REPLICAS`: that one is up.
final class PublishingConnection: RedisClientDelegate {
    private let connected: () -> Void

    init(_ connected: @escaping () -> Void) { self.connected = connected }

    func redisConnected(_ shard: RedisShardID, server: RedisServerInfo) { connected() }
    func redisDisconnected(_ shard: RedisShardID, _ why: String) {}
    func redisIsUpChanged(_ isUp: Bool, _ why: String) {}
    func redisIdentityChanged(_ shard: RedisShardID) {}
    func redisSubscribed(_ channel: RedisChannel) {}
    func redisInterrupted(_ channels: [RedisChannel]) {}
    func redisReceived(_ channel: RedisChannel, _ payload: ByteBuffer) {}
    func redisReceiveComplete() {}
    func redisProbed(_ seconds: TimeAmount) {}
    func redisReconnecting(_ shard: RedisShardID?) {}
}
