import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Numbers that all loops share")
struct ServerStateTests {
    @Test("A session counts while it is open, a stream also as such", arguments: TransportKind.allCases)
    func sessions(kind: TransportKind) throws {
        let state = try EdgeRig().shard.state
        let streams =
            switch kind {
            case .webSocket: 0
            case .eventStream: 1
            }
        state.sessionOpened(kind)
        #expect(state.sessions == 1 && state.streams == streams)
        state.sessionClosed(kind)
        #expect(state.sessions == 0 && state.streams == 0)
    }
}
