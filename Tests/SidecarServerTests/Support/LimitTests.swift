import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Names of limits")
struct LimitTests {
    @Test("A limit of DRY_RUN has its own name, and can be tried out", arguments: DryRunLimit.allCases)
    func dryRun(limit: DryRunLimit) {
        #expect(Limit(limit).rawValue == limit.rawValue)
        #expect(Limit(limit).actions.contains(.dryRun))
    }

    @Test("No other limit can be tried out, and each does something", arguments: Limit.allCases)
    func actions(limit: Limit) {
        #expect(!limit.actions.isEmpty && Set(limit.actions).count == limit.actions.count)
        #expect(limit.actions.contains(.dryRun) == (DryRunLimit(rawValue: limit.rawValue) != nil))
    }

    @Test("A broadcast that is not published is counted by its fault")
    func broadcasts() {
        #expect(BroadcastResult(.tooLong) == .tooLong && BroadcastResult(.malformed) == .malformed)
        #expect(BroadcastResult.allCases.map(\.rawValue) == ["published", "too_long", "malformed"])
    }
}
