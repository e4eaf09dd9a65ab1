import NIOCore
import SidecarCore

/// The limits of one session: its slots among the connections of its address and of its user, its rates, and its share
/// of the process's budget for input.
struct SessionLimits {
    /// What a session counts for whose client has gone and whose close event is not delivered yet, in bytes. So
    /// undelivered close events can fill the budget, and then no more clients are admitted.
    private static let undeliveredCloseBytes = 2048

    private var slot: ConnectionSlots.Slot?
    private var userSlot: (bucket: SharedBucket, user: UserName)?
    private(set) var allowance: MessageAllowance
    /// The pause because of a rate.
    var throttle: SessionThrottle?
    /// Bytes that count against the budget.
    private(set) var accountedBytes = 0
    /// True while it waits for bytes of the budget.
    var waitsForBudget = false
    /// True while the wait for the budget has not been counted.
    var isBudgetWaitUncounted = false

    /// The limits of an admitted client.
    init(_ slot: ConnectionSlots.Slot, _ allowances: MessageAllowances) {
        self.slot = slot
        allowance = allowances.allowance(for: slot)
    }

    /// The limits of a client that has gone.
    init() {
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
    }

    /// True during a pause because of a rate.
    var isThrottled: Bool { throttle != nil }

    /// Counts a message, and lets it through even when it exceeds a rate.
    ///
    /// - Returns: The limit and the pause that follows, if any.
    mutating func takeInDebt(
        _ payloadBytes: Int,
        now: Int64,
        overstepped: (DryRunLimit) -> Void
    ) -> MessageAllowance.Excess? {
        allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped)
    }

    /// Counts a message.
    ///
    /// - Returns: The limit that it exceeds, if any.
    mutating func take(_ payloadBytes: Int, now: Int64, overstepped: (DryRunLimit) -> Void) -> DryRunLimit? {
        allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped)
    }

    /// Applies other settings.
    mutating func settingsChanged(_ allowances: MessageAllowances) { allowances.change(&allowance) }

    // MARK: Slots

    /// Counts the connection with those of this user.
    mutating func take(_ bucket: SharedBucket, of user: UserName, _ admission: SessionAdmission) {
        releaseUserSlot(admission.slots)
        userSlot = (bucket, user)
        if admission.allowances.limitsUsers { allowance.share(withUser: bucket) }
    }

    /// No longer counts the connection with any user.
    mutating func releaseUserSlot(_ slots: ConnectionSlots) {
        if let (bucket, user) = userSlot { slots.close(bucket, of: user) }
        userSlot = nil
        allowance.share(withUser: nil)
    }

    /// Releases all slots: the connection has ended.
    mutating func releaseSlots(_ slots: ConnectionSlots) {
        if let slot { slots.close(slot) }
        slot = nil
        if let (bucket, user) = userSlot { slots.close(bucket, of: user) }
        userSlot = nil
    }

    // MARK: The budget

    /// Updates the bytes that wait for the app.
    mutating func account(pendingBytes: Int, owesClose: Bool, in budget: SharedBudget) {
        let pending = pendingBytes + (owesClose ? Self.undeliveredCloseBytes : 0)
        guard pending != accountedBytes else { return }
        budget.adjust(by: pending - accountedBytes)
        accountedBytes = pending
    }
}
