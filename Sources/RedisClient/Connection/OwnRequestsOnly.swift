import NIOCore

/// Who uses a connection for requests of its own, and not for subscriptions: every reply goes to its request as it is.
protocol OwnRequestsOnly: ConnectionTraffic {}

extension OwnRequestsOnly {
    func connection(_ connection: RedisConnection, answered request: RedisRequest, _ value: RESPValue) {
        if case .error(let reply) = value {
            request.fail(.refused(reply))
        } else {
            request.completion(.success(value))
        }
    }

    func connection(_ connection: RedisConnection, failed request: RedisRequest, _ failure: RedisFailure) {
        request.fail(failure)
    }

    func connection(_ connection: RedisConnection, received payload: ByteBuffer, on channel: RedisChannel) {}

    func connection(_ connection: RedisConnection, confirmed channel: RedisChannel, _ kind: SubscriptionKind) {}
    func connection(_ connection: RedisConnection, completed kind: SubscriptionKind) {}

    func connection(
        _ connection: RedisConnection,
        refused channels: [RedisChannel],
        _ kind: SubscriptionKind,
        _ reply: RedisErrorReply
    ) {}

    func connection(_ connection: RedisConnection, revoked channel: RedisChannel) {}
    func connection(_ connection: RedisConnection, changedIdentity id: String) {}
    func connection(_ connection: RedisConnection, probedIn time: TimeAmount) {}
    func connectionReadComplete(_ connection: RedisConnection) {}
}
