import NIOCore
import SidecarCore
import Synchronization
import Testing

@testable import ControlPlane

@Suite("What of the API is noted")
struct APIAuditTests {
    private final class Journal: Sendable {
        private let state = Mutex<(records: [AuditRecord], limited: Int)>(([], 0))
        var records: [AuditRecord] { state.withLock { $0.records } }
        var limited: Int { state.withLock { $0.limited } }
        func add(_ record: AuditRecord) { state.withLock { $0.records.append(record) } }
        func addLimited() { state.withLock { $0.limited += 1 } }
    }

    private func audit(_ journal: Journal, every interval: TimeAmount = .hours(1)) -> APIAudit {
        APIAudit(interval: interval, onLimited: { journal.addLimited() }, { journal.add($0) })
    }

    @Test("Calls that come to nothing fill no disk: beyond a burst they are one line")
    func refusals() throws {
        let journal = Journal()
        let audit = audit(journal)
        var waits: [Int64] = []
        for _ in 0..<1_000 {
            if let wait = audit.record(.refusedCall, "GET /v1/bans", by: "192.0.2.1", .refused) { waits.append(wait) }
        }
        #expect((100...110).contains(journal.records.count) && waits.count == 1_000 - journal.records.count)
        #expect(journal.limited == waits.count && waits.allSatisfy { 0 < $0 && $0 <= 1_000_000_000 })
        // Others are none the worse for it.
        #expect(audit.record(.addBan, "ip x", by: "192.0.2.2", .badRequest) == nil)
        let before = journal.records.count
        audit.writeSummary()
        audit.writeSummary()
        #expect(journal.records.count == before + 1)
        let last = try #require(journal.records.last)
        #expect(last.who == "api 192.0.2.1" && last.outcome == .refused && last.detail.hasPrefix("\(waits.count) more"))
    }

    @Test("What was carried out is recorded to the last call")
    func changes() {
        let journal = Journal()
        let audit = audit(journal)
        for _ in 0..<500 {
            audit.record(.closeConnection, "nope", by: "192.0.2.1", .notFound)
            #expect(audit.record(.closeConnection, "x", by: "192.0.2.1", .ok) == nil)
        }
        #expect(journal.records.count { $0.outcome == .ok } == 500)
        #expect(journal.records.count { $0.outcome == .notFound } < 200)
    }

    @Test("The rest is summed up by itself, and an IPv6 network is one address")
    func summary() async throws {
        let journal = Journal()
        let audit = audit(journal, every: .milliseconds(20))
        for number in 0..<300 { audit.record(.refusedCall, "", by: "2001:db8::\(number)", .refused) }
        let single = journal.records.count { $0.detail.isEmpty }
        #expect((100...110).contains(single))
        while journal.records.allSatisfy(\.detail.isEmpty) { try await Task.sleep(for: .milliseconds(5)) }
    }
}
