import NIOCore
import SidecarCore
import Synchronization

/// The bans of all nodes: what the engine has, mirrored here for handshakes.
///
/// While the engine is away, what is known holds.
final class ClusterBanStore: BanStore {
    private let mirror = BanList()
    private let engine: any ClusterBans

    init(_ engine: any ClusterBans) { self.engine = engine }

    func covers(_ address: IPAddress?) -> Bool { mirror.covers(address) }
    func covers(user: UserName?) -> Bool { mirror.covers(user: user) }
    func info(of subject: BanSubject) -> BanInfo? { mirror.info(of: subject) }
    func list() -> [BanInfo] { mirror.list() }

    /// It holds here at once, and on the other nodes as soon as the engine has it.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> BanTable.Addition {
        let addition = mirror.addAutomatic(subject, for: ttl, reason: reason)
        if addition == .added {
            let ban = Self.ban(subject, ttl, reason)
            Task { [engine] in _ = try? await engine.put(ban, isAutomatic: true) }
        }
        return addition
    }

    func add(
        _ subject: BanSubject,
        for ttl: TimeAmount,
        reason: String
    ) async throws(StoreFailure) -> (BanTable.Addition, BanInfo) {
        let ban = Self.ban(subject, ttl, reason)
        let addition = try await engine.put(ban, isAutomatic: false)
        let info = BanInfo(subject: subject, expiresAt: ban.expiresAt, reason: reason)
        guard addition != .full else { return (addition, info) }
        // The engine has told it already, unless it is about to end.
        if mirror.info(of: subject) == nil { mirror.set(subject, for: ttl, expiresAt: ban.expiresAt, reason: reason) }
        return (addition, mirror.info(of: subject) ?? info)
    }

    func remove(_ subject: BanSubject) async throws(StoreFailure) -> Bool {
        let isRemoved = try await engine.remove(subject)
        return mirror.remove(subject) || isRemoved
    }

    /// The engine has these bans, and no others.
    ///
    /// - Returns: The subjects that were not banned here before.
    func replace(with bans: [ClusterBan]) -> [BanSubject] {
        let known = Set(mirror.list().map(\.subject))
        for subject in known.subtracting(bans.map(\.subject)) { _ = mirror.remove(subject) }
        for ban in bans where ban.rest > .zero {
            mirror.set(ban.subject, for: ban.rest, expiresAt: ban.expiresAt, reason: ban.reason)
        }
        return bans.map(\.subject).filter { !known.contains($0) }
    }

    private static func ban(_ subject: BanSubject, _ ttl: TimeAmount, _ reason: String) -> ClusterBan {
        ClusterBan(
            subject: subject,
            rest: ttl,
            expiresAt: WallClock.unixMilliseconds() + ttl.nanoseconds / 1_000_000,
            reason: reason
        )
    }
}
