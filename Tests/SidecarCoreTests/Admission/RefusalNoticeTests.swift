import NIOCore
import Testing

@testable import SidecarCore

@Suite("Notices of refusals")
struct RefusalNoticeTests {
    private func seconds(_ count: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .seconds(count) }

    @Test("The first refusal is a line, the next when a minute is over", arguments: [0, 1, 1_000_000] as [Int64])
    func oncePerMinute(start: Int64) {
        var notice = RefusalNotice()
        #expect(notice.refused(at: seconds(start)) == 0)
        #expect(notice.refused(at: seconds(start)) == nil)
        #expect(notice.refused(at: seconds(start + 59)) == nil)
        #expect(notice.refused(at: seconds(start + 60)) == 2)
        // The next minute begins with that line.
        #expect(notice.refused(at: seconds(start + 119)) == nil)
        #expect(notice.refused(at: seconds(start + 121)) == 1)
        #expect(notice.refused(at: seconds(start + 1000)) == 0)
    }

    @Test("A clock at its end or one that goes back is no fault")
    func oddClocks() {
        var notice = RefusalNotice()
        #expect(notice.refused(at: .distantFuture) == 0)
        #expect(notice.refused(at: .distantFuture) == nil)
        #expect(notice.refused(at: seconds(0)) == nil)
        #expect(notice.refused(at: .distantPast) == nil)
    }

    @Test("Each kind has its own line, and threads share it")
    func shared() async {
        let notices = RefusalNotices()
        let lines = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    (0..<10_000).count { _ in notices.refused(.connectRatePerIP, at: seconds(5)) != nil }
                }
            }
            return await group.reduce(0, +)
        }
        #expect(lines == 1)
        #expect(notices.refused(.messageRate, at: seconds(5)) == 0)
        #expect(notices.refused(.connectRatePerIP, at: seconds(65)) == 79_999)
        for kind in RefusalKind.allCases where kind != .messageRate && kind != .connectRatePerIP {
            #expect(notices.refused(kind, at: seconds(5)) == 0)
            #expect(notices.refused(kind, at: seconds(6)) == nil)
        }
    }

    @Test(
        "Each kind says what happened and what to do, and names a variable if one decides",
        arguments: RefusalKind.allCases
    )
    func words(kind: RefusalKind) {
        let names = SettingsRegistry.standard.definitions.map(\.environmentName)
        if let variable = kind.variable {
            #expect(names.contains("SIDESOCKET_" + variable))
        } else {
            #expect([.breaker, .forgedEvent, .unreadableEvent].contains(kind))
        }
        #expect(!kind.remedy.isEmpty && !kind.remedy.hasSuffix("."))
        #expect(Set(RefusalKind.allCases.map(\.event)).count == RefusalKind.allCases.count)
    }

    @Test("A limit that can be tried out is told of under its own name", arguments: DryRunLimit.allCases)
    func limits(limit: DryRunLimit) {
        #expect(RefusalKind(limit).variable?.lowercased() == limit.rawValue)
    }
}
