import NIOCore
import RedisClient
import SidecarCore

/// What the engine passes on and forgets.
extension Publisher {
    /// Tells the other nodes of this node's users in a channel.
    func announce(_ notice: MemberNotice, failed: @escaping @Sendable () -> Void) {
        pass(on: MemberFrame.write(notice, from: context.incarnation), in: notice.channel) { result in
            if case .failure = result { failed() }
        }
    }

    /// Sends a client's event to the other members of a channel.
    func broadcast(
        _ event: ClientBroadcast,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) {
        pass(on: ClientEventFrame.write(event), in: event.channel, completion)
    }

    private func pass(
        on frame: ByteBuffer,
        in channel: ChannelName,
        _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void
    ) {
        guard context.client.isUp else { return completion(.failure(.unavailable("Redis is away."))) }
        let topic = context.keys.topic(channel)
        var command = RedisCommand(
            context.client.usesShardedPubSub ? "SPUBLISH" : "PUBLISH",
            [.text(topic), .bytes(frame)],
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
