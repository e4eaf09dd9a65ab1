import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Numbers that all loops share")
struct ServerStateTests {
    @Test("A session counts while it is open, in all and by its transport", arguments: TransportKind.allCases)
    func sessions(kind: TransportKind) throws {
        let state = try EdgeRig().shard.state
        state.sessionOpened(kind)
        #expect(state.sessions == 1)
        for other in TransportKind.allCases { #expect(state.sessions(on: other) == (other == kind ? 1 : 0)) }
        state.sessionClosed(kind)
        #expect(state.sessions == 0)
    }
}
