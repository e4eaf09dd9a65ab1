import HTTP1
import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Admission guard")
struct AdmissionGuardTests {
    private func make(_ settings: Settings, log: RecordedLog = RecordedLog()) -> AdmissionGuard {
        AdmissionGuard(
            settings: settings,
            metrics: ServerMetrics(),
            logger: log.logger,
            authenticator: nil,
            onAutoBan: { _, _ in }
        )
    }

    private func countRefused(_ admission: AdmissionGuard, _ client: ResolvedClient) -> HandshakeRejection? {
        do throws(HandshakeRejection) {
            try admission.count(client)
            return nil
        } catch {
            return error
        }
    }

    @Test("Who is banned does not come in, nor uses up the rate of its address")
    func banned() async throws {
        var settings = Samples.settings()
        settings.connectRatePerIP = Rate(1, per: .hours(1), burst: 1)
        let admission = make(settings)
        let client = try Samples.client("192.0.2.1")
        let subject = BanSubject.network(IPNetwork(try #require(client.ip), prefixLength: 32))
        _ = try await admission.sessions.bans.add(subject, for: .minutes(1), reason: "")
        for _ in 0..<3 {
            let rejection = countRefused(admission, client)
            #expect(rejection?.refusal.status == 403 && rejection?.refusal.reason == .ban)
        }
        let isRemoved = try await admission.sessions.bans.remove(subject)
        #expect(isRemoved)
        #expect(countRefused(admission, client) == nil)
        #expect(countRefused(admission, client)?.refusal.status == 429)
    }

    @Test("In a dry run of the rate nobody is refused for it")
    func dryRun() throws {
        var settings = Samples.settings()
        settings.connectRatePerIP = Rate(1, per: .hours(1), burst: 1)
        settings.dryRun = [.connectRatePerIP]
        let admission = make(settings)
        let client = try Samples.client("192.0.2.1")
        for _ in 0..<5 { #expect(countRefused(admission, client) == nil) }
    }

    @Test("A reload keeps bans, counts and what has been told")
    func reload() async throws {
        var settings = Samples.settings()
        settings.connectRatePerIP = Rate(1, per: .hours(1), burst: 1)
        settings.maxConnectionsPerIP = 1
        let log = RecordedLog()
        let old = make(settings, log: log)
        let client = try Samples.client("192.0.2.1")
        #expect(countRefused(old, client) == nil)
        let head = try Samples.head("GET /ws HTTP/1.1", "Host: a")
        let (slot, _) = try old.admit(head, client, transportKind: .webSocket)
        #expect(countRefused(old, client) != nil)
        let new = AdmissionGuard(settings, after: old)
        #expect(countRefused(new, client)?.result == .rateLimited)
        #expect(log.messages == [RefusalKind.connectRatePerIP.event])
        #expect(new.sessions.slots.open(for: client) == nil)
        new.sessions.slots.close(slot)
        #expect(new.sessions.slots.open(for: client) != nil)
        _ = try await old.sessions.bans.add(.user("eve"), for: .minutes(1), reason: "")
        #expect(new.sessions.bans.covers(user: "eve"))
    }
}
