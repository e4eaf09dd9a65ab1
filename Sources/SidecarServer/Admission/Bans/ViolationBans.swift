import Logging
import NIOCore
import SidecarCore
import Synchronization

/// Bans addresses that break the protocol or a limit again and again (`AUTO_BAN`).
struct ViolationBans: Sendable {
    /// Where bans are reported.
    struct Reports: Sendable {
        let metrics: ServerMetrics
        let logger: Logger
        /// Called for each ban.
        let onBan: @Sendable (BanSubject, TimeAmount) -> Void
    }

    /// Limits the warning that the ban table is full, over all event loops.
    private final class FullTableNotice: Sendable {
        /// The time of the last warning in nanoseconds; 0: never.
        private let told = Atomic<Int64>(0)

        /// True when there was no warning within the last minute.
        func isDue(now: Int64) -> Bool {
            let last = told.load(ordering: .relaxed)
            guard last == 0 || now - last >= 60_000_000_000 else { return false }
            return told.compareExchange(expected: last, desired: now, ordering: .relaxed).exchanged
        }
    }

    private let terms: AutoBan?
    private let ipv6Prefix: Int
    private let table: RateLimitTable?
    private let bans: any BanStore
    private let reports: Reports
    private let notice: FullTableNotice

    /// - Parameter terms: Nil to ban nobody, also after a reload.
    init(_ terms: AutoBan?, ipv6Prefix: Int, bans: any BanStore, _ reports: Reports) {
        self.terms = terms
        self.ipv6Prefix = ipv6Prefix
        self.bans = bans
        self.reports = reports
        var random = SystemRandomNumberGenerator()
        table = terms.map { RateLimitTable(GCRA($0.violations), seed: (random.next(), random.next())) }
        notice = FullTableNotice()
    }

    /// Other terms for the violations that are already counted.
    init(_ terms: AutoBan?, ipv6Prefix: Int, after old: ViolationBans) {
        self.terms = terms
        self.ipv6Prefix = ipv6Prefix
        bans = old.bans
        reports = old.reports
        table = old.table
        notice = old.notice
    }

    /// Counts a violation, and bans the address when it has too many.
    ///
    /// - Parameter address: Nil for a client without an address, which is never banned.
    func count(by address: IPAddress?, now: Int64 = MonotonicClock.now()) {
        guard let table, let terms, let address else { return }
        let key = RateLimitKey(address, ipv6PrefixLength: ipv6Prefix)
        guard case .limited = table.take(key.addressKey, now: now) else { return }
        let network = IPNetwork(address, prefixLength: address.isIPv4 ? address.bitCount : ipv6Prefix)
        switch bans.addAutomatic(.network(network), for: terms.duration, reason: "too many violations") {
        case .added:
            reports.metrics.limited(.autoBan, action: .refused)
            reports.onBan(.network(network), terms.duration)
        case .replaced: break
        case .full: couldNotBan(network, now)
        }
    }

    /// Clears the violations of an address when its ban is lifted.
    func forgive(_ subject: BanSubject) {
        guard case .network(let network) = subject else { return }
        table?.forget(RateLimitKey(network.address, ipv6PrefixLength: ipv6Prefix).addressKey)
    }

    private func couldNotBan(_ network: IPNetwork, _ now: Int64) {
        reports.metrics.limited(.banTable, action: .refused)
        guard notice.isDue(now: now) else { return }
        reports.logger.warning(
            "address not banned: no room for another automatic ban",
            metadata: ["address": "\(network)"]
        )
    }
}
