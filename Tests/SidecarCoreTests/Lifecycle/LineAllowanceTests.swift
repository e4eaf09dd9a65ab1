import NIOCore
import Testing

@testable import SidecarCore

@Suite("Log lines that clients can cause")
struct LineAllowanceTests {
    @Test("So many are written in a minute; the next one after it says how many were left out")
    func minute() {
        var allowance = LineAllowance()
        let start = NIODeadline.uptimeNanoseconds(0)
        for _ in 0..<LineAllowance.perMinute { #expect(allowance.take(at: start) == 0) }
        for _ in 0..<3 { #expect(allowance.take(at: start + .seconds(59)) == nil) }
        #expect(allowance.take(at: start + .seconds(60)) == 3)
        #expect(allowance.take(at: start + .seconds(60)) == 0)
    }
}
