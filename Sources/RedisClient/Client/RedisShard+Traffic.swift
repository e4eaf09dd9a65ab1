import NIOCore

/// What comes over the connections of a shard.
extension RedisShard: ConnectionTraffic {
    func connection(_ connection: RedisConnection, answered request: RedisRequest, _ value: RESPValue) {
        guard case .error(let reply) = value else { return request.completion(.success(value)) }
        guard let redirect = Redirect(reply, asked: connection.address.host) else {
            return request.fail(.refused(reply))
        }
        if redirect == .notMaster { connection.retire(.role("\(connection.address): \(reply.sentence)")) }
        if request.command.followsRedirects, !request.staysOnConnection {
            owner?.redirected(request, redirect, reply)
        } else {
            owner?.redirected(nil, redirect, reply)
            request.fail(.redirected)
        }
    }

    func connection(_ connection: RedisConnection, failed request: RedisRequest, _ failure: RedisFailure) {
        if case .notSent(.unavailable(let why)) = failure, request.command.followsRedirects, !request.staysOnConnection,
            request.deadline > context.eventLoop.now, let owner
        {
            owner.requestReturned(request, why)
        } else {
            request.fail(failure)
        }
    }

    func connection(_ connection: RedisConnection, received payload: ByteBuffer, on channel: RedisChannel) {
        if hasSubscriptions(connection) { subscriptions.received(payload, on: channel) }
    }

    func connection(_ connection: RedisConnection, confirmed channel: RedisChannel, _ kind: SubscriptionKind) {
        if hasSubscriptions(connection) { subscriptions.confirmed(channel, kind) }
    }

    func connection(_ connection: RedisConnection, completed kind: SubscriptionKind) {
        if hasSubscriptions(connection) { subscriptions.completed() }
    }

    func connection(
        _ connection: RedisConnection,
        refused channels: [RedisChannel],
        _ kind: SubscriptionKind,
        _ reply: RedisErrorReply
    ) {
        guard hasSubscriptions(connection) else { return }
        let redirect = Redirect(reply, asked: connection.address.host)
        subscriptions.refused(channels, kind, reply, isRedirect: redirect != nil)
        if let redirect { owner?.redirected(nil, redirect, reply) }
    }

    func connection(_ connection: RedisConnection, revoked channel: RedisChannel) {
        if hasSubscriptions(connection) { subscriptions.revoked(channel) }
    }

    func connection(_ connection: RedisConnection, changedIdentity id: String) {
        guard id != replicationID, !isTemporary else { return }
        let wasKnown = replicationID != nil
        replicationID = id
        if wasKnown { context.delegate?.redisIdentityChanged(self.id) }
    }

    func connection(_ connection: RedisConnection, probedIn time: TimeAmount) {
        context.delegate?.redisProbed(time)
    }

    func connectionReadComplete(_ connection: RedisConnection) {
        subscriptions.readComplete()
    }

    /// One that was replaced may still bring messages, which nobody counts on.
    private func hasSubscriptions(_ connection: RedisConnection) -> Bool { connection === subscriberConnection }
}
