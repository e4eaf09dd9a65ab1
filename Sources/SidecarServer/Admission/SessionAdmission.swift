import SidecarCore

/// The limits over all event loops that apply to a session.
final class SessionAdmission: Sendable {
    /// The rates of its messages.
    let allowances: MessageAllowances
    /// The slots of its address and its user.
    let slots: ConnectionSlots
    /// Bans that end it.
    let bans: any BanStore
    /// Logs what its client is limited for.
    let refusals: RefusalLog
    /// Counts its violations.
    let violations: ViolationBans

    init(
        allowances: MessageAllowances,
        slots: ConnectionSlots,
        bans: any BanStore,
        refusals: RefusalLog,
        violations: ViolationBans
    ) {
        self.allowances = allowances
        self.slots = slots
        self.bans = bans
        self.refusals = refusals
        self.violations = violations
    }
}
