import NIOCore
import SidecarCore

/// What one session may take: its slots among the connections of its address and of its user, its rates, and what of its
/// input counts against the budget of the process.
struct SessionLimits {
    /// What a session costs whose client has gone and whose close event is not delivered yet, in bytes; so many closes
    /// that nobody takes fill the budget, and no more clients are let in.
    private static let undeliveredCloseBytes = 2048

    private var slot: ConnectionSlots.Slot?
    private var userSlot: (bucket: SharedBucket, user: UserName)?
    private(set) var allowance: MessageAllowance
    /// The pause that a rate has led to.
    var throttle: SessionThrottle?
    /// Bytes that count against the budget.
    private(set) var accountedBytes = 0
    /// True while it waits for the budget.
    var waitsForBudget = false
    /// True while nobody has been told that something waits for the budget.
    var isBudgetWaitUncounted = false

    /// Those of a client that has been let in.
    init(_ slot: ConnectionSlots.Slot, _ allowances: MessageAllowances) {
        self.slot = slot
        allowance = allowances.allowance(for: slot)
    }

    /// Those of a client that has gone.
    init() {
        allowance = MessageAllowance(perConnection: nil, bytes: nil, dryRun: [])
    }

    /// True while a rate keeps it from taking more.
    var isThrottled: Bool { throttle != nil }

    /// Counts a message, and lets it pass when it is too much.
    ///
    /// - Returns: How long nothing may be taken then.
    mutating func takeInDebt(
        _ payloadBytes: Int,
        now: Int64,
        overstepped: (DryRunLimit) -> Void
    ) -> MessageAllowance.Excess? {
        allowance.takeInDebt(payloadBytes: payloadBytes, now: now, overstepped: overstepped)
    }

    /// Counts a message.
    ///
    /// - Returns: The limit that it exceeds.
    mutating func take(_ payloadBytes: Int, now: Int64, overstepped: (DryRunLimit) -> Void) -> DryRunLimit? {
        allowance.take(payloadBytes: payloadBytes, now: now, overstepped: overstepped)
    }

    /// Other settings hold.
    mutating func settingsChanged(_ allowances: MessageAllowances) { allowances.change(&allowance) }

    // MARK: Slots

    /// From now on the connection counts with those of this user.
    mutating func take(_ bucket: SharedBucket, of user: UserName, _ admission: SessionAdmission) {
        releaseUserSlot(admission.slots)
        userSlot = (bucket, user)
        if admission.allowances.limitsUsers { allowance.share(withUser: bucket) }
    }

    /// It counts with no user's connections any more.
    mutating func releaseUserSlot(_ slots: ConnectionSlots) {
        if let (bucket, user) = userSlot { slots.close(bucket, of: user) }
        userSlot = nil
        allowance.share(withUser: nil)
    }

    /// The connection has ended.
    mutating func releaseSlots(_ slots: ConnectionSlots) {
        if let slot { slots.close(slot) }
        slot = nil
        if let (bucket, user) = userSlot { slots.close(bucket, of: user) }
        userSlot = nil
    }

    // MARK: The budget

    /// Counts what waits for the app.
    mutating func account(pendingBytes: Int, owesClose: Bool, in budget: SharedBudget) {
        let pending = pendingBytes + (owesClose ? Self.undeliveredCloseBytes : 0)
        guard pending != accountedBytes else { return }
        budget.adjust(by: pending - accountedBytes)
        accountedBytes = pending
    }
}
