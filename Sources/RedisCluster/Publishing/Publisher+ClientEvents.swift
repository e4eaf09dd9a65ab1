import NIOCore
import RedisClient
import SidecarCore

/// Events from client to client, which the engine passes on and forgets.
extension Publisher {
    func broadcast(
        _ event: ClientBroadcast,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) {
        guard context.client.isUp else { return completion(.failure(.unavailable("Redis is away."))) }
        let topic = context.keys.topic(event.channel)
        var command = RedisCommand(
            context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH",
            [.text(topic), .bytes(ClientEventFrame.write(event))],
            slotKey: topic
        )
        command.timeout = context.settings.timeout
        context.client.send(command) { result in
            switch result {
            case .success: completion(.success(()))
            case .failure(let failure): completion(.failure(.unavailable(failure.sentence)))
            }
        }
    }
}
