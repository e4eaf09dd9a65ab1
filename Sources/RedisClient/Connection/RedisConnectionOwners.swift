import NIOCore

/// Who made a connection and replaces it when it is lost.
protocol ConnectionLifecycle: AnyObject {
    /// The greeting is over; the connection takes commands.
    func connectionReady(_ connection: RedisConnection, server: RedisServerInfo)
    /// The connection takes no more commands, or never did. Comes once, before the requests on it fail.
    func connectionEnded(_ connection: RedisConnection, _ fault: ConnectionFault)
}

/// Who gets what comes over a connection.
protocol ConnectionTraffic: AnyObject {
    /// A request has got its reply, perhaps an error.
    func connection(_ connection: RedisConnection, answered request: RedisRequest, _ value: RESPValue)
    /// A request has not got a reply.
    func connection(_ connection: RedisConnection, failed request: RedisRequest, _ failure: RedisFailure)
    /// A message of a subscription.
    func connection(_ connection: RedisConnection, received payload: ByteBuffer, on channel: RedisChannel)
    /// The server has confirmed a channel of a batch.
    func connection(_ connection: RedisConnection, confirmed channel: RedisChannel, _ kind: SubscriptionKind)
    /// All of a batch is confirmed.
    func connection(_ connection: RedisConnection, completed kind: SubscriptionKind)
    /// The server has refused what is left of a batch.
    func connection(
        _ connection: RedisConnection,
        refused channels: [RedisChannel],
        _ kind: SubscriptionKind,
        _ reply: RedisErrorReply
    )
    /// The server has ended a subscription by itself.
    func connection(_ connection: RedisConnection, revoked channel: RedisChannel)
    /// The replication id has changed.
    func connection(_ connection: RedisConnection, changedIdentity id: String)
    /// A probe has come back.
    func connection(_ connection: RedisConnection, probedIn time: TimeAmount)
    /// A burst of reads is over.
    func connectionReadComplete(_ connection: RedisConnection)
}
