import NIOCore
import SidecarCore
import Synchronization

/// The bans of all nodes: what the engine has, mirrored here for handshakes.
///
/// While the engine is away, what is known holds.
final class ClusterBanStore: BanStore {
    private let mirror = BanList()
    private let engine: any ClusterBans
    /// Automatic bans that the engine does not have yet. At most half of the table are automatic.
    private let unshared = Mutex<[BanSubject: ClusterBan]>([:])

    init(_ engine: any ClusterBans) { self.engine = engine }

    func covers(_ address: IPAddress?) -> Bool { mirror.covers(address) }
    func covers(user: UserName?) -> Bool { mirror.covers(user: user) }
    func info(of subject: BanSubject) -> BanInfo? { mirror.info(of: subject) }
    func list() -> [BanInfo] { mirror.list() }

    /// It holds here at once, and on the other nodes as soon as the engine has it.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> BanTable.Addition {
        let addition = mirror.addAutomatic(subject, for: ttl, reason: reason)
        if addition == .added {
            unshared.withLock { $0[subject] = Self.ban(subject, ttl, reason) }
            share()
        }
        return addition
    }

    /// Tells the engine of automatic bans that it does not have. Those it cannot take now follow when it tells its own.
    func share() {
        let bans = unshared.withLock { Array($0.values) }
        guard !bans.isEmpty else { return }
        Task {
            for ban in bans {
                let rest = ban.expiresAt - WallClock.unixMilliseconds()
                let isOver = rest <= 0 || mirror.info(of: ban.subject) == nil
                let current = ClusterBan(
                    subject: ban.subject,
                    rest: .milliseconds(max(1, rest)),
                    expiresAt: ban.expiresAt,
                    reason: ban.reason
                )
                guard !isOver, (try? await engine.put(current, isAutomatic: true)) == nil else {
                    unshared.withLock { $0[ban.subject] = nil }
                    continue
                }
            }
        }
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
        unshared.withLock { $0[subject] = nil }
        let isRemoved = try await engine.remove(subject)
        return mirror.remove(subject) || isRemoved
    }

    /// The engine has these bans, and no others.
    ///
    /// - Returns: The subjects that were not banned here before.
    func replace(with bans: [ClusterBan]) -> [BanSubject] {
        let known = Set(mirror.list().map(\.subject))
        let own = unshared.withLock { Set($0.keys) }
        for subject in known.subtracting(bans.map(\.subject)).subtracting(own) { _ = mirror.remove(subject) }
        for ban in bans where ban.rest > .zero {
            mirror.set(ban.subject, for: ban.rest, expiresAt: ban.expiresAt, reason: ban.reason)
        }
        // The engine is there: it takes what it lacks.
        if !own.subtracting(bans.map(\.subject)).isEmpty { share() }
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
