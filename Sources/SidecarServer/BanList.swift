import NIOCore
import SidecarCore
import Synchronization

/// The bans of the process, for all event loops and the API.
final class BanList: Sendable {
    private let table = Mutex(BanTable())
    /// Most of the time there is none, and a handshake takes no lock.
    private let hasAny = Atomic<Bool>(false)

    func add(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> (BanTable.Addition, BanInfo) {
        let now = AdmissionGuard.now()
        return table.withLock {
            let ban = Ban(
                subject: subject,
                until: now + ttl.nanoseconds,
                expiresAt: WallClock.unixMilliseconds() + ttl.nanoseconds / 1_000_000,
                reason: reason
            )
            let addition = $0.add(ban, now: now)
            hasAny.store($0.count > 0, ordering: .relaxed)
            return (addition, Self.info(ban))
        }
    }

    /// Bans without an operator, who is left half of the places; false when it is nothing new.
    func addAutomatic(_ subject: BanSubject, for ttl: TimeAmount, reason: String) -> Bool {
        let hasRoom = table.withLock { table in
            if table.count >= table.capacity / 2 { table.removeEnded(AdmissionGuard.now()) }
            return table.count < table.capacity / 2
        }
        return hasRoom && add(subject, for: ttl, reason: reason).0 == .added
    }

    func remove(_ subject: BanSubject) -> Bool {
        table.withLock {
            let removed = $0.remove(subject, now: AdmissionGuard.now())
            hasAny.store($0.count > 0, ordering: .relaxed)
            return removed
        }
    }

    func covers(_ address: IPAddress?) -> Bool {
        guard hasAny.load(ordering: .relaxed), let address else { return false }
        return table.withLock { $0.covers(address, now: AdmissionGuard.now()) }
    }

    func covers(user: UserName?) -> Bool {
        guard hasAny.load(ordering: .relaxed), let user else { return false }
        return table.withLock { $0.ban(of: .user(user), now: AdmissionGuard.now()) != nil }
    }

    func info(of subject: BanSubject) -> BanInfo? {
        table.withLock { $0.ban(of: subject, now: AdmissionGuard.now()) }.map(Self.info)
    }

    func list() -> [BanInfo] {
        table.withLock { $0.list(now: AdmissionGuard.now()) }.map(Self.info)
    }

    private static func info(_ ban: Ban) -> BanInfo {
        BanInfo(subject: ban.subject, expiresAt: ban.expiresAt, reason: ban.reason)
    }
}
