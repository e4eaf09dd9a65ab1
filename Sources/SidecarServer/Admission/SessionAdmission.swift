import SidecarCore

/// The limits over all event loops that apply to a session.
struct SessionAdmission: Sendable {
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
}
