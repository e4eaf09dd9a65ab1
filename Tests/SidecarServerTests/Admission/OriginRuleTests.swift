import HTTP1
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Origin rule")
struct OriginRuleTests {
    private func rule(dryRun: Set<DryRunLimit> = [], log: RecordedLog = RecordedLog()) -> OriginRule {
        OriginRule(policy: .sameHost, allowsMissing: true, enforcement: Samples.enforcement(dryRun: dryRun, log: log))
    }

    private func refusal(_ rule: OriginRule, origin: String) throws -> HandshakeRejection? {
        let head = try Samples.head("GET /ws HTTP/1.1", "Host: app.example", "Origin: \(origin)")
        let client = try Samples.client("192.0.2.1")
        do throws(HandshakeRejection) {
            try rule.check(head, client)
            return nil
        } catch {
            return error
        }
    }

    @Test("A page of the same host may open a socket; another one gets 403, and the operator is told")
    func decides() throws {
        let log = RecordedLog()
        let rule = rule(log: log)
        #expect(try refusal(rule, origin: "http://app.example") == nil)
        #expect(log.messages.isEmpty)
        let rejection = try #require(try refusal(rule, origin: "http://evil.example"))
        #expect(rejection.result == .origin)
        #expect(rejection.refusal.status == 403 && rejection.refusal.reason == .origin)
        #expect(log.messages == [RefusalKind.allowedOrigins.event])
    }

    @Test("A dry run lets every page pass")
    func dryRun() throws {
        let log = RecordedLog()
        let rule = rule(dryRun: [.allowedOrigins], log: log)
        #expect(try refusal(rule, origin: "http://evil.example") == nil)
        #expect(log.messages.isEmpty)
    }
}
