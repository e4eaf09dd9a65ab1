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
            if let excess = allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped) {
                pause(for: excess)
            }
            return true
        case .close:
            guard let limit = allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped) else {
                return true
            }
            context.metrics.limited(Limit(limit), action: .closed)
            noteRefused(RefusalKind(limit), .action(.closed))
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

    /// Resumes reading.
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

    /// The client has sent more than may be processed now: only then has a pause delayed anything, and is counted.
    func inputWaits() {
        if let limit = backPressure.throttle?.uncounted {
            backPressure.throttle?.uncounted = nil
            context.metrics.limited(Limit(limit), action: .throttled)
            noteRefused(RefusalKind(limit), .action(.throttled))
        }
        if backPressure.isBudgetWaitUncounted {
            backPressure.isBudgetWaitUncounted = false
            context.metrics.limited(.maxTotalPendingBytes, action: .throttled)
            noteRefused(.totalPendingBytes)
        }
    }

    /// Checks for input during a pause, since nothing is read then.
    func lookForInput() {
        guard backPressure.throttle?.uncounted != nil || backPressure.isBudgetWaitUncounted,
            transport?.hasInputWaiting == true
        else { return }
        inputWaits()
    }

    // MARK: Back-pressure

    /// True while no more messages may be read, because too much waits for the app.
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

    /// The same for residual input: it is held anyway, so it does not wait for the process-wide budget.
    var mustPauseResidualInput: Bool {
        // In a drain it ends as soon as the app has answered what came before.
        if awaitsApp { return true }
        if isDraining || backPressure.isThrottled { return machine.isRunning }
        return isPaused
    }

    /// True while a rate keeps it from taking more.
    var isThrottled: Bool { backPressure.isThrottled }

    /// What waits for the app, in bytes.
    var pendingBytes: Int { backPressure.pendingBytes }

    /// True when so much of this connection waits that nothing more is read.
    var isPaused: Bool { backPressure.pendingBytes >= context.settings.maxPendingBytes }

    /// Bytes of the process-wide budget may have been returned.
    func budgetMayBeFree() {
        backPressure.waitsForBudget = false
        lookForInput()
        backPressure.isBudgetWaitUncounted = false
        transport?.resumeReading()
    }

    /// Applies other settings.
    ///
    /// - Parameter isOfTransport: Whether socket options have to change too.
    func settingsChanged(isOfTransport: Bool) {
        context.admission.allowances.change(&allowance)
        if backPressure.isThrottled { endThrottle() }  // the next message decides whether it still has to wait
        transport?.settingsChanged(isOfTransport: isOfTransport)
    }

    func accountBytes() {
        let change = backPressure.account(pendingBytes: machine.pendingBytes, owesClose: machine.owesClose)
        context.pendingBytes.adjust(by: change)
    }

    // MARK: Slots and violations

    /// Counts the connection with those of this user; false when the user has reached the limit.
    func takeSlot(ofUser user: UserName) -> Bool {
        let absent = context.state.absentUsers
        let bucket = context.admission.slots.open(for: user, client: clientAddress) { absent.endOldest(of: user) }
        guard let bucket else { return false }
        self.user = user
        slots.take(bucket, of: user, in: context.admission.slots)
        askForUser(user)
        allowance.share(withUser: context.admission.allowances.limitsUsers ? bucket : nil)
        return true
    }

    /// Records that the client was limited, for the operator.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        context.admission.refusals.note(kind, client: clientAddress, more())
    }

    /// Counts a violation of the protocol or a limit; repeated ones lead to a ban (`AUTO_BAN`).
    func countViolation() { context.admission.violations.count(by: IPAddress(clientAddress)) }
}
