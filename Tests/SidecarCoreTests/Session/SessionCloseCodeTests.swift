import SidecarCore
import Testing

@Suite("Close codes of sessions")
struct SessionCloseCodeTests {
    @Test("Every code can be held, and those that a server may send can be asked for")
    func sendable() {
        let allowed = Array(1000...1003) + Array(1007...1014) + Array(3000...4999)
        #expect((-10...70_000).filter { SessionCloseCode(sendable: $0) != nil } == allowed)
        for code in allowed { #expect(SessionCloseCode(sendable: code)?.description == "\(code)") }
        for code in [Int.min, Int.max, 65_536 + 1000] { #expect(SessionCloseCode(sendable: code) == nil) }
        #expect(SessionCloseCode(rawValue: 0).rawValue == 0 && SessionCloseCode(rawValue: .max).rawValue == .max)
    }

    @Test("Whoever is banned is told 4403, which may be sent")
    func banned() {
        #expect(CloseRequest.banned.code == .forbidden)
        #expect(CloseRequest(code: 4403, reason: CloseRequest.banned.reason) == .banned)
    }
}
