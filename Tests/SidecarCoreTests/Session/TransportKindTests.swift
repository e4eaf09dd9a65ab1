import SidecarCore
import Testing

@Suite("What carries a session")
struct TransportKindTests {
    @Test("Each transport has its label, and clients can send on a WebSocket only", arguments: TransportKind.allCases)
    func facts(kind: TransportKind) {
        switch kind {
        case .webSocket: #expect(kind.rawValue == "websocket" && kind.mayAuthenticateLater)
        case .eventStream: #expect(kind.rawValue == "event_stream" && !kind.mayAuthenticateLater)
        case .poll: #expect(kind.rawValue == "poll" && !kind.mayAuthenticateLater)
        case .stream: #expect(kind.rawValue == "stream" && !kind.mayAuthenticateLater)
        }
    }
}
