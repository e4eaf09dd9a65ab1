import HTTP1
import Logging
import NIOCore
import SidecarCore

extension WebhookDelivery {
    /// The result of one attempt.
    enum Attempt {
        /// The app replied, whatever the status.
        case answered(HTTPReplyHead)
        /// There was no usable reply.
        case failed(DeliveryFailure)

        /// How long the app asked to wait.
        var retryAfter: TimeAmount? {
            guard case .answered(let head) = self else { return nil }
            return RetryPolicy.retryAfter(
                head.headers.first("retry-after"),
                unixMilliseconds: WallClock.unixMilliseconds()
            )
        }
    }

    /// One line for each attempt, at debug. Bodies are never in it.
    func log(_ attempt: Attempt, _ effects: ReplyEffects = ReplyEffects()) {
        var metadata = logFields
        metadata["event"] = "\(eventName)"
        metadata["event_id"] = "\(eventID)"
        if count > 1 { metadata["events"] = .stringConvertible(count) }
        metadata["attempt"] = .stringConvertible(failures + 1)
        // In milliseconds with one decimal.
        metadata["duration_ms"] = .stringConvertible((Double(attemptDuration.nanoseconds) / 100_000).rounded() / 10)
        if logsEffects {
            metadata["sent"] = .stringConvertible(effects.sent)
            metadata["published"] = .stringConvertible(effects.published)
        }
        switch attempt {
        case .answered(let head): metadata["status"] = .stringConvertible(head.status)
        case .failed(let failure): metadata["why"] = "\(failure.sentence)"
        }
        webhooks.logger.debug("event", metadata: metadata)
    }
}
