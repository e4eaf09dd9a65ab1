public import NIOCore

/// The bans: which addresses and users may not connect.
///
/// Every handshake and every named user is looked up, so ``covers(_:)``, ``covers(user:)`` and
/// ``addAutomatic(_:for:reason:)`` return at once, from what this process knows. The others may have to reach another
/// process first, and can fail.
public protocol BanStore: Sendable {
    /// True when a ban covers this address.
    func covers(_ address: IPAddress?) -> Bool
    /// True when this user is banned.
    func covers(user: UserName?) -> Bool
    /// Adds a ban that no operator asked for, in at most half of the capacity; it holds in this process at once.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> BanTable.Addition

    /// Adds a ban, or changes the end of an existing one.
    func add(
        _ subject: BanSubject,
        for ttl: TimeAmount,
        reason: String
    ) async throws(StoreFailure) -> (BanTable.Addition, BanInfo)
    /// Ends a ban; false when there is none.
    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool
    /// The ban of exactly this subject.
    func info(of subject: BanSubject) async throws(StoreFailure) -> BanInfo?
    /// All bans in force, by kind and value.
    func list() async throws(StoreFailure) -> [BanInfo]
}
