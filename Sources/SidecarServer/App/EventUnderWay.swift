import HTTP1
import NIOCore
import SidecarCore

/// The event that a session is bringing to the app.
final class EventUnderWay: WebhookCall {
    let delivery: Delivery
    let kind: SessionEvent.Kind
    /// How many messages it brings, or 1.
    let count: Int
    /// The time of the event in milliseconds since 1970; the same on every attempt.
    var happenedAt: Int64
    /// Addresses that no connection came up to.
    var refusedBy: Set<Int> = []
    /// It holds this, too, until the event is done.
    private let session: BridgeSession

    init(_ delivery: consuming Delivery, of session: BridgeSession) {
        let kind = delivery.event.kind
        self.kind = kind
        happenedAt = delivery.time ?? WallClock.unixMilliseconds()
        count = delivery.sequences.count
        self.delivery = delivery
        self.session = session
        super.init(lane: kind.lane, metrics: session.shard.metrics.webhook(for: kind), shard: session.shard)
    }

    override func writeRequest(into buffer: inout ByteBuffer) { session.writeRequest(of: self, into: &buffer) }
    override func completed(_ outcome: Outcome) { session.completed(self, outcome) }
}

extension WebhookCall.Outcome {
    /// How long the app asked to be left alone.
    var retryAfter: TimeAmount? {
        guard case .success(let reply) = self else { return nil }
        return RetryPolicy.retryAfter(
            reply.head.headers.first("retry-after"),
            unixMilliseconds: WallClock.unixMilliseconds()
        )
    }
}
