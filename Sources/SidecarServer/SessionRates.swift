import Logging
import NIOCore
import SidecarCore

/// The rates of messages and bytes that its client may send.
extension BridgeSession {
    /// Counts a message against the rates; false when it is too much and the connection closes for it.
    func isAllowed(payloadBytes: Int, at now: NIODeadline) -> Bool {
        let now = Int64(clamping: now.uptimeNanoseconds)
        func overstepped(_ limit: DryRunLimit) { shard.metrics.limited(limit.rawValue, action: "dry_run") }
        switch shard.configuration.settings.rateLimitAction {
        case .throttle:
            if let excess = allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped) {
                pause(for: excess)
            }
            return true
        case .close:
            guard let limit = allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped) else {
                return true
            }
            shard.metrics.limited(limit.rawValue, action: "closed")
            noteRefused(RefusalKind(limit), ["action": "closed"])
            breached()
            shard.metrics.messagesDropped(1, reason: "rate_limited")
            close(code: 4429, reason: limit == .byteRate ? "too many bytes" : "too many messages")
            return false
        }
    }

    /// Stops reading until the connection has tokens again; nothing is lost, the client's own buffer fills up.
    private func pause(for excess: MessageAllowance.Excess) {
        guard machine.isRunning else { return }
        if !isThrottled {
            shard.metrics.limited(excess.limit.rawValue, action: "throttled")
            noteRefused(RefusalKind(excess.limit), ["action": "throttled"])
        }
        isThrottled = true
        let entry = throttle ?? TimerEntry()
        throttle = entry
        shard.timers.arm(entry, owner: self, at: .now() + .nanoseconds(excess.wait))
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        endThrottle()
        return nil
    }

    /// Reads on.
    func endThrottle() {
        if let throttle { shard.timers.cancel(throttle) }
        throttle = nil
        isThrottled = false
        transport?.resumeReading()
    }
}
