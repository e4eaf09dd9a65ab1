import NIOCore
import SidecarCore
import Synchronization

/// The bans of the process, for all event loops and the API.
final class BanList: BanStore {
    private let table = Mutex(BanTable())
    /// Most of the time there are no bans, and then a handshake takes no lock.
    private let hasAny = Atomic<Bool>(false)

    func add(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> (BanTable.Addition, BanInfo) {
        change(subject, ttl, reason) { $0.add($1, now: $2) }
    }

    /// Adds a ban that no operator asked for, in at most half of the capacity.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> BanTable.Addition {
        change(subject, ttl, reason) { $0.addAutomatic($1, now: $2) }.0
    }

    /// Sets a ban whose end for people is known.
    func set(_ subject: BanSubject, for ttl: TimeAmount, expiresAt: Int64, reason: String) {
        let now = MonotonicClock.now()
        let ban = Ban(subject: subject, until: now + ttl.nanoseconds, expiresAt: expiresAt, reason: reason)
        table.withLock {
            _ = $0.add(ban, now: now)
            hasAny.store($0.count > 0, ordering: .relaxed)
        }
    }

    private func change(
        _ subject: BanSubject,
        _ ttl: TimeAmount,
        _ reason: String,
        _ add: (inout BanTable, Ban, _ now: Int64) -> BanTable.Addition
    ) -> (BanTable.Addition, BanInfo) {
        let now = MonotonicClock.now()
        return table.withLock {
            let ban = Ban(
                subject: subject,
                until: now + ttl.nanoseconds,
                expiresAt: WallClock.unixMilliseconds() + ttl.nanoseconds / 1_000_000,
                reason: reason
            )
            let addition = add(&$0, ban, now)
            hasAny.store($0.count > 0, ordering: .relaxed)
            return (addition, Self.info(ban))
        }
    }

    func remove(_ subject: BanSubject) -> Bool {
        table.withLock {
            let removed = $0.remove(subject, now: MonotonicClock.now())
            hasAny.store($0.count > 0, ordering: .relaxed)
            return removed
        }
    }

    func covers(_ address: IPAddress?) -> Bool {
        guard hasAny.load(ordering: .relaxed), let address else { return false }
        return table.withLock { $0.covers(address, now: MonotonicClock.now()) }
    }

    func covers(user: UserName?) -> Bool {
        guard hasAny.load(ordering: .relaxed), let user else { return false }
        return table.withLock { $0.ban(of: .user(user), now: MonotonicClock.now()) != nil }
    }

    func info(of subject: BanSubject) -> BanInfo? {
        table.withLock { $0.ban(of: subject, now: MonotonicClock.now()) }.map(Self.info)
    }

    func list() -> [BanInfo] {
        table.withLock { $0.list(now: MonotonicClock.now()) }.map(Self.info)
    }

    private static func info(_ ban: Ban) -> BanInfo {
        BanInfo(subject: ban.subject, expiresAt: ban.expiresAt, reason: ban.reason)
    }
}
