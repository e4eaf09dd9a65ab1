import Logging
import NIOCore
import SidecarCore

/// The rates of messages and bytes that its client may send.
extension BridgeSession {
    /// Counts a message against the rates; false when it is too much and the connection closes for it.
    func isAllowed(payloadBytes: Int, at now: NIODeadline) -> Bool {
        let now = Int64(clamping: now.uptimeNanoseconds)
        func overstepped(_ limit: DryRunLimit) { shard.metrics.limited(Limit(limit), action: .dryRun) }
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
            shard.metrics.limited(Limit(limit), action: .closed)
            noteRefused(RefusalKind(limit), ["action": "closed"])
            countViolation()
            shard.metrics.messagesDropped(1, reason: .rateLimited)
            close(code: .tooManyRequests, reason: limit == .byteRate ? "too many bytes" : "too many messages")
            return false
        }
    }

    /// Stops reading until the connection has tokens again; nothing is lost, the client's own buffer fills up.
    private func pause(for excess: MessageAllowance.Excess) {
        guard machine.isRunning else { return }
        let now = NIODeadline.now()
        let throttle = self.throttle ?? SessionThrottle(excess.limit, at: now)
        self.throttle = throttle
        throttle.ends = now + .nanoseconds(excess.wait)
        isThrottled = true
        shard.timers.arm(throttle.entry, owner: self, at: throttle.nextLook(at: now))
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        guard let throttle else { return nil }
        if now >= throttle.ends {
            endThrottle()
            return nil
        }
        lookForInput()
        return throttle.nextLook(at: now)
    }

    /// Reads on.
    func endThrottle() {
        lookForInput()
        if let throttle { shard.timers.cancel(throttle.entry) }
        throttle = nil
        isThrottled = false
        transport?.resumeReading()
    }

    // MARK: Counting pauses

    /// The client has sent more than may be taken now: only then has a pause held anything up, and counts.
    func inputWaits() {
        if let limit = throttle?.uncounted {
            throttle?.uncounted = nil
            shard.metrics.limited(Limit(limit), action: .throttled)
            noteRefused(RefusalKind(limit), ["action": "throttled"])
        }
        if isBudgetWaitUncounted {
            isBudgetWaitUncounted = false
            shard.metrics.limited(.maxTotalPendingBytes, action: .throttled)
            noteRefused(.totalPendingBytes)
        }
    }

    /// While nothing is read, somebody has to look whether something has come.
    func lookForInput() {
        guard throttle?.uncounted != nil || isBudgetWaitUncounted, transport?.hasInputWaiting == true else { return }
        inputWaits()
    }
}

/// A pause in which nothing is read, since a rate is spent.
final class SessionThrottle {
    private static let firstLook = TimeAmount.milliseconds(100)

    let entry = TimerEntry()
    /// The limit, until the pause has been counted.
    var uncounted: DryRunLimit?
    var ends: NIODeadline
    private let began: NIODeadline

    init(_ limit: DryRunLimit, at now: NIODeadline) {
        uncounted = limit
        began = now
        ends = now
    }

    /// When to look whether something waits, ever more rarely, or to read on.
    func nextLook(at now: NIODeadline) -> NIODeadline {
        uncounted == nil ? ends : min(ends, now + max(now - began, Self.firstLook))
    }
}
