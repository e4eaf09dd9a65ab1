import SidecarCore

/// The parts of the guard by the names that its callers know.
extension AdmissionGuard {
    typealias Slot = ConnectionSlots.Slot

    /// Monotonic nanoseconds, the clock of all rates.
    static func now() -> Int64 { MonotonicClock.now() }

    func forgive(_ subject: BanSubject) { sessions.violations.forgive(subject) }

    // Until sessions have their `SessionAdmission`.
    var refusals: RefusalLog { sessions.refusals }
    var controls: GCRA? { sessions.allowances.controls }
    var limitsMessagesPerUser: Bool { sessions.allowances.limitsUsers }
    func allowance(for slot: Slot) -> MessageAllowance { sessions.allowances.allowance(for: slot) }
    func change(_ allowance: inout MessageAllowance) { sessions.allowances.change(&allowance) }
    func leave(_ slot: Slot) { sessions.slots.close(slot) }
    func slot(forUser user: UserName, client: String) -> SharedBucket? {
        sessions.slots.open(for: user, client: client)
    }
    func countViolation(by address: String) { sessions.violations.count(by: IPAddress(address)) }
}
