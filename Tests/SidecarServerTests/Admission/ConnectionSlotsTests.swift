import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Connection slots")
struct ConnectionSlotsTests {
    private func slots(
        perAddress: Int = 2,
        perUser: Int = 2,
        trusted: TrustedProxies = .none,
        dryRun: Set<DryRunLimit> = [],
        log: RecordedLog = RecordedLog()
    ) -> ConnectionSlots {
        ConnectionSlots(
            .init(perAddress: perAddress, perUser: perUser, trusted: trusted),
            messages: nil,
            users: LocalRateStore(messages: nil),
            Samples.enforcement(dryRun: dryRun, log: log)
        )
    }

    private func isRefused(_ verdict: ConnectionSlots.SocketVerdict) -> Bool {
        if case .refused = verdict { true } else { false }
    }

    private func isUncounted(_ verdict: ConnectionSlots.SocketVerdict) -> Bool {
        if case .notCounted = verdict { true } else { false }
    }

    @Test("An address has as many as allowed; one that ends makes room")
    func address() throws {
        let log = RecordedLog()
        let slots = slots(log: log)
        let client = try Samples.client("192.0.2.1")
        // A bucket that nobody holds may be forgotten, with its count.
        var held = [try #require(slots.open(for: client, now: 0)), try #require(slots.open(for: client, now: 0))]
        #expect(log.messages.isEmpty)
        #expect(slots.open(for: client, now: 0) == nil)
        #expect(log.messages == [RefusalKind.maxConnectionsPerIP.event])
        #expect(slots.open(for: try Samples.client("192.0.2.2"), now: 0) != nil)
        slots.close(held[0])
        held.append(try #require(slots.open(for: client, now: 0)))
        #expect(slots.open(for: client, now: 0) == nil)
        withExtendedLifetime(held) {}
    }

    @Test("Addresses of one IPv6 network count together")
    func network() throws {
        let slots = slots(perAddress: 1)
        let first = slots.open(for: try Samples.client("2001:db8::1"), now: 0)
        let second = slots.open(for: try Samples.client("2001:db8::2"), now: 0)
        let other = slots.open(for: try Samples.client("2001:db8:0:1::1"), now: 0)
        #expect(first != nil && second == nil && other != nil)
    }

    @Test("A user has as many as allowed, and gives them back")
    func user() throws {
        let log = RecordedLog()
        let slots = slots(log: log)
        let first = try #require(slots.open(for: "ann", client: "192.0.2.1", now: 0))
        let second = try #require(slots.open(for: "ann", client: "192.0.2.2", now: 0))
        #expect(first === second)
        #expect(slots.open(for: "ann", client: "192.0.2.3", now: 0) == nil)
        #expect(log.messages == [RefusalKind.maxConnectionsPerUser.event])
        #expect(slots.open(for: "bob", client: "192.0.2.3", now: 0) != nil)
        slots.close(first, of: "ann")
        #expect(slots.open(for: "ann", client: "192.0.2.3", now: 0) != nil)
    }

    @Test("A dry run counts and lets pass")
    func dryRun() throws {
        let log = RecordedLog()
        let dry: Set<DryRunLimit> = [.maxConnectionsPerIP, .maxConnectionsPerUser]
        let slots = slots(perAddress: 1, perUser: 1, dryRun: dry, log: log)
        let client = try Samples.client("192.0.2.1")
        let held = (0..<3).map { _ in slots.open(for: client, now: 0) }
        #expect(held.last??.address?.connections == 3)
        let buckets = (0..<3).map { _ in slots.open(for: "ann", client: "192.0.2.1", now: 0) }
        #expect(buckets.last??.connections == 3)
        let verdicts = (0..<3).map { _ in slots.countSocket(of: client.ip, now: 0) }
        #expect(!verdicts.contains(where: isRefused))
        #expect(log.messages.isEmpty)
    }

    @Test("An address may have two connections for each WebSocket; a proxy's and those without address don't count")
    func sockets() throws {
        let proxy = try Samples.address("10.0.0.1")
        let slots = slots(perAddress: 1, trusted: try TrustedProxies(parsing: ["10.0.0.0/8"]))
        let peer = try Samples.address("192.0.2.1")
        let first = slots.countSocket(of: peer, now: 0)
        #expect(!isRefused(slots.countSocket(of: peer, now: 0)))
        #expect(isRefused(slots.countSocket(of: peer, now: 0)))
        if case .counted(let bucket) = first { bucket.close() } else { Issue.record("the first was not counted") }
        #expect(!isRefused(slots.countSocket(of: peer, now: 0)))
        for _ in 0..<5 {
            #expect(isUncounted(slots.countSocket(of: proxy, now: 0)))
            #expect(isUncounted(slots.countSocket(of: nil, now: 0)))
        }
    }

    @Test("No limit overflows")
    func unlimited() throws {
        let slots = slots(perAddress: .max, perUser: .max)
        let client = try Samples.client("192.0.2.1")
        #expect(!isRefused(slots.countSocket(of: client.ip, now: 0)))
        #expect(slots.open(for: client, now: 0) != nil)
    }

    @Test("Other limits hold for the connections that are counted already")
    func reload() throws {
        let old = slots(perAddress: 3, perUser: 3)
        let client = try Samples.client("192.0.2.1")
        let bucket = try #require(old.open(for: "ann", client: "192.0.2.1", now: 0))
        let slot = try #require(old.open(for: client, now: 0))
        let new = ConnectionSlots(.init(perAddress: 1, perUser: 1), after: old, Samples.enforcement())
        #expect(new.open(for: client, now: 0) == nil)
        #expect(new.open(for: "ann", client: "192.0.2.1", now: 0) == nil)
        new.close(slot)
        new.close(bucket, of: "ann")
        #expect(new.open(for: client, now: 0) != nil)
        #expect(new.open(for: "ann", client: "192.0.2.1", now: 0) != nil)
    }

    @Test("A client with too many is told the limit")
    func rejection() {
        let rejection = slots(perAddress: 7).rejection
        #expect(rejection.result == .connectionLimit)
        #expect(rejection.refusal.status == 429 && rejection.refusal.reason == .connectionLimit)
        #expect(rejection.refusal.fields.contains(ResponseField("RateLimit-Policy", "\"connections-per-address\";q=7")))
    }
}
