import SidecarCore

/// What a session needs of the limits that hold over all event loops.
final class SessionAdmission: Sendable {
    /// What its client may send.
    let allowances: MessageAllowances
    /// Its place among the connections of its address and its user.
    let slots: ConnectionSlots
    /// Who may not stay.
    let bans: any BanStore
    /// Where the operator reads what its client is limited for.
    let refusals: RefusalLog
    /// Counts what its client breaks.
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
