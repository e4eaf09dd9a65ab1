import Logging
import NIOCore
import SidecarCore

/// Rates of the client's messages, and limits on what may wait.
extension BridgeSession {
    /// Counts a message against the rates; false when it exceeds one and the connection is closed for it.
    func isAllowed(payloadBytes: Int, at now: NIODeadline) -> Bool {
        let now = Int64(clamping: now.uptimeNanoseconds)
        func overstepped(_ limit: DryRunLimit) { context.metrics.limited(Limit(limit), action: .dryRun) }
        switch context.settings.rateLimitAction {
        case .throttle:
            if let excess = limits.takeInDebt(payloadBytes, now: now, overstepped: overstepped) {
                pause(for: excess)
            }
            return true
        case .close:
            guard let limit = limits.take(payloadBytes, now: now, overstepped: overstepped) else {
                return true
            }
            context.metrics.limited(Limit(limit), action: .closed)
            noteRefused(RefusalKind(limit), ["action": "closed"])
            countViolation()
            context.metrics.messagesDropped(1, reason: .rateLimited)
            close(code: .tooManyRequests, reason: limit == .byteRate ? "too many bytes" : "too many messages")
            return false
        }
    }

    /// Stops reading until the connection has tokens again. Nothing is lost: the client's own buffer fills up.
    private func pause(for excess: MessageAllowance.Excess) {
        guard machine.isRunning else { return }
        let now = NIODeadline.now()
        let throttle = limits.throttle ?? SessionThrottle(excess.limit, at: now)
        limits.throttle = throttle
        throttle.ends = now + .nanoseconds(excess.wait)
        context.timers.arm(throttle.entry, owner: self, at: throttle.nextLook(at: now))
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        guard let throttle = limits.throttle else { return nil }
        if now >= throttle.ends {
            endThrottle()
            return nil
        }
        lookForInput()
        return throttle.nextLook(at: now)
    }

    /// Resumes reading.
    func endThrottle() {
        lookForInput()
        endPause()
        transport?.resumeReading()
    }

    func endPause() {
        if let throttle = limits.throttle { context.timers.cancel(throttle.entry) }
        limits.throttle = nil
    }

    // MARK: Counting pauses

    /// The client has sent more than may be processed now: only then has a pause delayed anything, and is counted.
    func inputWaits() {
        if let limit = limits.throttle?.uncounted {
            limits.throttle?.uncounted = nil
            context.metrics.limited(Limit(limit), action: .throttled)
            noteRefused(RefusalKind(limit), ["action": "throttled"])
        }
        if limits.isBudgetWaitUncounted {
            limits.isBudgetWaitUncounted = false
            context.metrics.limited(.maxTotalPendingBytes, action: .throttled)
            noteRefused(.totalPendingBytes)
        }
    }

    /// Checks for input during a pause, since nothing is read then.
    func lookForInput() {
        guard limits.throttle?.uncounted != nil || limits.isBudgetWaitUncounted, transport?.hasInputWaiting == true
        else { return }
        inputWaits()
    }

    // MARK: Back-pressure

    /// True while no more messages may be read, because too much waits for the app.
    var mustPauseReading: Bool {
        if mustPauseResidualInput { return true }
        if awaitsToken { return false }
        guard context.pendingBytes.isSpent, machine.isRunning else { return false }
        if !limits.waitsForBudget {
            limits.waitsForBudget = true
            limits.isBudgetWaitUncounted = true
            context.budgetQueue.append(self)
        }
        return true
    }

    /// The same for residual input: it is held anyway, so it does not wait for the process-wide budget.
    var mustPauseResidualInput: Bool {
        // In a drain it ends as soon as the app has answered what came before.
        if awaitsApp { return true }
        if isDraining || limits.isThrottled { return machine.isRunning }
        return isPaused
    }

    /// True when so much of this connection waits that nothing more is read.
    var isPaused: Bool { limits.accountedBytes >= context.settings.maxPendingBytes }

    /// Bytes of the process-wide budget may have been returned.
    func budgetMayBeFree() {
        limits.waitsForBudget = false
        lookForInput()
        limits.isBudgetWaitUncounted = false
        transport?.resumeReading()
    }

    /// Applies other settings.
    ///
    /// - Parameter isOfTransport: Whether socket options have to change too.
    func settingsChanged(isOfTransport: Bool) {
        limits.settingsChanged(context.admission.allowances)
        if limits.isThrottled { endThrottle() }  // the next message decides whether it still has to wait
        transport?.settingsChanged(isOfTransport: isOfTransport)
    }

    func accountBytes() {
        limits.account(pendingBytes: machine.pendingBytes, owesClose: machine.owesClose, in: context.pendingBytes)
    }

    // MARK: Slots and violations

    /// Counts the connection with those of this user; false when the user has reached the limit.
    func takeSlot(ofUser user: UserName) -> Bool {
        guard let bucket = context.admission.slots.open(for: user, client: clientAddress) else { return false }
        identity.user = user
        limits.take(bucket, of: user, context.admission)
        return true
    }

    /// Records that the client was limited, for the operator.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        context.admission.refusals.note(kind, client: clientAddress, more())
    }

    /// Counts a violation of the protocol or a limit; repeated ones lead to a ban (`AUTO_BAN`).
    func countViolation() { context.admission.violations.count(by: IPAddress(clientAddress)) }
}
