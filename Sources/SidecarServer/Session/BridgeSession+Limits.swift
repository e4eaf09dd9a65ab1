import Logging
import NIOCore
import SidecarCore

/// What its client may send, and how much of it may wait.
extension BridgeSession {
    /// Counts a message against the rates; false when it is too much and the connection closes for it.
    func isAllowed(payloadBytes: Int, at now: NIODeadline) -> Bool {
        let now = Int64(clamping: now.uptimeNanoseconds)
        func overstepped(_ limit: DryRunLimit) { context.metrics.limited(Limit(limit), action: .dryRun) }
        switch context.settings.rateLimitAction {
        case .throttle:
            if let excess = allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped) {
                pause(for: excess)
            }
            return true
        case .close:
            guard let limit = allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped) else {
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

    /// Stops reading until the connection has tokens again; nothing is lost, the client's own buffer fills up.
    private func pause(for excess: MessageAllowance.Excess) {
        guard machine.isRunning else { return }
        let now = NIODeadline.now()
        let throttle = backPressure.throttle ?? SessionThrottle(excess.limit, at: now)
        backPressure.throttle = throttle
        throttle.ends = now + .nanoseconds(excess.wait)
        context.timers.arm(throttle.entry, owner: self, at: throttle.nextLook(at: now))
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        guard let throttle = backPressure.throttle else { return nil }
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
        endPause()
        transport?.resumeReading()
    }

    func endPause() {
        if let throttle = backPressure.throttle { context.timers.cancel(throttle.entry) }
        backPressure.throttle = nil
    }

    // MARK: Counting pauses

    /// The client has sent more than may be taken now: only then has a pause held anything up, and counts.
    func inputWaits() {
        if let limit = backPressure.throttle?.uncounted {
            backPressure.throttle?.uncounted = nil
            context.metrics.limited(Limit(limit), action: .throttled)
            noteRefused(RefusalKind(limit), ["action": "throttled"])
        }
        if backPressure.isBudgetWaitUncounted {
            backPressure.isBudgetWaitUncounted = false
            context.metrics.limited(.maxTotalPendingBytes, action: .throttled)
            noteRefused(.totalPendingBytes)
        }
    }

    /// While nothing is read, somebody has to look whether something has come.
    func lookForInput() {
        guard backPressure.throttle?.uncounted != nil || backPressure.isBudgetWaitUncounted, transport?.hasInputWaiting == true
        else { return }
        inputWaits()
    }

    // MARK: Back-pressure

    /// True while no more messages may be read: too much waits for the app.
    var mustPauseReading: Bool {
        if mustPauseResidualInput { return true }
        if awaitsToken { return false }
        guard context.pendingBytes.isSpent, machine.isRunning else { return false }
        if !backPressure.waitsForBudget {
            backPressure.waitsForBudget = true
            backPressure.isBudgetWaitUncounted = true
            context.budgetQueue.append(self)
        }
        return true
    }

    /// The same for what a client that has gone has left: it is held anyway, so the process-wide budget cannot wait
    /// for it.
    var mustPauseResidualInput: Bool {
        // In a drain it ends as soon as the app has answered what came before.
        if awaitsApp { return true }
        if isDraining || backPressure.isThrottled { return machine.isRunning }
        return isPaused
    }

    /// True when so much of its own waits that nothing more is read.
    var isPaused: Bool { backPressure.pendingBytes >= context.settings.maxPendingBytes }

    /// Somebody has given bytes back to the process-wide budget.
    func budgetMayBeFree() {
        backPressure.waitsForBudget = false
        lookForInput()
        backPressure.isBudgetWaitUncounted = false
        transport?.resumeReading()
    }

    /// Other settings hold from now on.
    ///
    /// - Parameter isOfTransport: Whether the kernel has to be told of them.
    func settingsChanged(isOfTransport: Bool) {
        context.admission.allowances.change(&allowance)
        if backPressure.isThrottled { endThrottle() }  // the next message tells whether it still has to wait
        transport?.settingsChanged(isOfTransport: isOfTransport)
    }

    func accountBytes() {
        let change = backPressure.account(pendingBytes: machine.pendingBytes, owesClose: machine.owesClose)
        context.pendingBytes.adjust(by: change)
    }

    // MARK: Slots and violations

    /// From now on the connection counts with those of this user; false when the user may have no more.
    func takeSlot(ofUser user: UserName) -> Bool {
        guard let bucket = context.admission.slots.open(for: user, client: clientAddress) else { return false }
        identity.user = user
        slots.take(bucket, of: user, in: context.admission.slots)
        allowance.share(withUser: context.admission.allowances.limitsUsers ? bucket : nil)
        return true
    }

    /// The client was limited; the operator may want to know.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        context.admission.refusals.note(kind, client: clientAddress, more())
    }

    /// The client has broken the protocol or a limit; whoever does so again and again is banned (`AUTO_BAN`).
    func countViolation() { context.admission.violations.count(by: IPAddress(clientAddress)) }
}
