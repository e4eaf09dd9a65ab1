import NIOCore
import Synchronization
import Testing

@testable import SidecarCore
@testable import SidecarServer

@Suite("Automatic bans")
struct ViolationBansTests {
    /// What was banned, in order.
    private final class Banned: Sendable {
        private let subjects = Mutex<[String]>([])
        var all: [String] { subjects.withLock { $0 } }
        func note(_ subject: BanSubject) { subjects.withLock { $0.append(subject.value) } }
    }

    private static let terms = AutoBan(violations: Rate(1, per: .seconds(60), burst: 2), duration: .hours(1))

    private func make(_ bans: BanList, _ banned: Banned = Banned(), terms: AutoBan? = terms) -> ViolationBans {
        ViolationBans(
            terms,
            ipv6Prefix: 64,
            bans: bans,
            .init(metrics: ServerMetrics(), logger: RecordedLog().logger, onBan: { subject, _ in banned.note(subject) })
        )
    }

    @Test("Who has too many violations is banned, and told of once")
    func bans() throws {
        let bans = BanList()
        let banned = Banned()
        let violations = make(bans, banned)
        let address = try Samples.address("192.0.2.1")
        for _ in 0..<2 { violations.count(by: address, now: 0) }
        #expect(!bans.covers(address) && banned.all.isEmpty)
        for _ in 0..<3 { violations.count(by: address, now: 0) }
        #expect(bans.covers(address) && banned.all == ["192.0.2.1"])
        #expect(!bans.covers(try Samples.address("192.0.2.2")))
        #expect(bans.list().map(\.reason) == ["too many violations"])
    }

    @Test("An IPv6 client is banned with its network")
    func network() throws {
        let bans = BanList()
        let violations = make(bans)
        for host in 1...3 { violations.count(by: try Samples.address("2001:db8::\(host)"), now: 0) }
        #expect(bans.covers(try Samples.address("2001:db8::ffff")))
        #expect(!bans.covers(try Samples.address("2001:db8:0:1::1")))
    }

    @Test("Violations are forgotten over time, and when a ban is lifted")
    func forgives() throws {
        let bans = BanList()
        let violations = make(bans)
        let address = try Samples.address("192.0.2.1")
        for minute in 0..<5 { violations.count(by: address, now: Int64(minute) * 60 * Samples.second) }
        #expect(!bans.covers(address))
        for _ in 0..<3 { violations.count(by: address, now: 0) }
        #expect(bans.covers(address))
        let subject = BanSubject.network(IPNetwork(address, prefixLength: 32))
        violations.forgive(subject)
        #expect(bans.remove(subject))
        violations.count(by: address, now: 0)
        #expect(!bans.covers(address))
    }

    @Test("Without terms, or without an address, nobody is banned")
    func off() throws {
        let bans = BanList()
        let off = make(bans, terms: nil)
        let address = try Samples.address("192.0.2.1")
        for _ in 0..<10 { off.count(by: address, now: 0) }
        let on = make(bans)
        for _ in 0..<10 { on.count(by: nil, now: 0) }
        #expect(bans.list().isEmpty)
    }

    @Test("Counts and bans outlive a reload")
    func reload() throws {
        let bans = BanList()
        let old = make(bans)
        let address = try Samples.address("192.0.2.1")
        for _ in 0..<2 { old.count(by: address, now: 0) }
        let new = ViolationBans(Self.terms, ipv6Prefix: 64, after: old)
        new.count(by: address, now: 0)
        #expect(bans.covers(address))
    }
}
