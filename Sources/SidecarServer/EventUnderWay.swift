import NIOCore
import SidecarCore

/// The event that a session is bringing to the app, over all its attempts.
final class EventUnderWay {
    let delivery: Delivery
    let kind: SessionEvent.Kind
    /// The time of the event in milliseconds since 1970; the same on every attempt.
    var happenedAt: Int64
    /// How many messages it brings, or 1.
    let count: Int
    /// When its turn came.
    private(set) var dueSince = NIODeadline.distantFuture
    /// When a permit was asked for, for this attempt.
    private(set) var askedAt = NIODeadline.distantFuture
    /// Attempts that have failed.
    var failures = 0

    init(_ delivery: consuming Delivery) {
        kind = delivery.event.kind
        happenedAt = delivery.time ?? WallClock.unixMilliseconds()
        count = delivery.sequences.count
        self.delivery = delivery
    }

    func asked(at now: NIODeadline) {
        askedAt = now
        dueSince = min(dueSince, now)
    }
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
