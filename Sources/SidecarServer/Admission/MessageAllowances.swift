import SidecarCore

/// What connections may send under the current settings.
struct MessageAllowances: Sendable {
    private let perConnection: GCRA?
    private let bytes: GCRA?
    private let dryRun: Set<DryRunLimit>
    private let limitsAddresses: Bool
    /// The rate of one connection's pings and pongs; nil for none.
    let controls: GCRA?
    /// True when messages are counted by user.
    let limitsUsers: Bool

    init(_ settings: Settings) {
        perConnection = settings.messageRate.map { GCRA($0) }
        bytes = settings.byteRate.map { GCRA($0) }
        controls = settings.controlRate.map { GCRA($0) }
        dryRun = settings.dryRun
        limitsAddresses = settings.messageRatePerIP != nil
        limitsUsers = settings.messageRatePerUser != nil
    }

    /// What a new connection may send.
    func allowance(for slot: ConnectionSlots.Slot) -> MessageAllowance {
        var allowance = MessageAllowance(perConnection: perConnection, bytes: bytes, dryRun: dryRun)
        if limitsAddresses { allowance.share(withAddress: slot.address) }
        return allowance
    }

    /// The same for a session that goes on, with what it has sent so far, on a connection from another address.
    func allowance(_ allowance: MessageAllowance, for slot: ConnectionSlots.Slot?) -> MessageAllowance {
        var allowance = allowance
        allowance.share(withAddress: limitsAddresses ? slot?.address : nil)
        return allowance
    }

    /// What an open connection may send from now on.
    func change(_ allowance: inout MessageAllowance) {
        allowance.change(perConnection: perConnection, bytes: bytes, dryRun: dryRun)
    }
}
