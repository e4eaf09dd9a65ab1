import NIOCore

/// Whom the next reply of a connection is for.
enum PendingReply {
    /// The greeting.
    case greeting
    /// A probe that was sent then.
    case probe(RoleProbe, sentAt: NIODeadline)
    /// Nobody: the reply to `ASKING`.
    case asking
    /// A request, sent with the script's source or without.
    case request(RedisRequest, withSource: Bool)
    /// A batch whose first so many channels are confirmed already.
    case subscription(SubscriptionBatch)
}
