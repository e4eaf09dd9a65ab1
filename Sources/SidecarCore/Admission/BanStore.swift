public import NIOCore

/// Who may not come in.
///
/// Every handshake and every named user asks it, so ``covers(_:)``, ``covers(user:)`` and ``addAutomatic(_:for:reason:)``
/// answer at once, from what this process knows. A change may have to reach other processes first and can fail.
public protocol BanStore: Sendable {
    /// True when a ban covers this address.
    func covers(_ address: IPAddress?) -> Bool
    /// True when this user is banned.
    func covers(user: UserName?) -> Bool
    /// Bans without an operator, who is left half of the places; it holds here at once.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> BanTable.Addition

    /// Adds a ban, or moves the end of the one that there is.
    func add(
        _ subject: BanSubject,
        for ttl: TimeAmount,
        reason: String
    ) async throws(StoreFailure) -> (BanTable.Addition, BanInfo)
    /// Ends a ban; false when there is none.
    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool
    /// The ban of exactly this subject.
    func info(of subject: BanSubject) async throws(StoreFailure) -> BanInfo?
    /// All that hold now, by kind and value.
    func list() async throws(StoreFailure) -> [BanInfo]
}
