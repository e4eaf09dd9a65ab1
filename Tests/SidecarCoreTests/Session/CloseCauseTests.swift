import Testing

@testable import SidecarCore

@Suite("Close causes")
struct CloseCauseTests {
    @Test("A code says by itself what only it means; who ended the connection comes first")
    func byCode() {
        func cause(_ code: UInt16) -> CloseCause {
            CloseCause(code: SessionCloseCode(rawValue: code), initiator: .server)
        }
        #expect(cause(1002) == .protocolError && cause(1007) == .invalidData && cause(1009) == .tooBig)
        #expect(cause(1011) == .appFailed && cause(1012) == .drain && cause(1013) == .appUnavailable)
        #expect(cause(4401) == .tokenExpired && cause(4429) == .rateLimited)
        #expect(cause(1000) == .appClosed && cause(4000) == .appClosed)
        #expect(CloseCause(code: .serviceRestart, initiator: .client) == .client)
        #expect(CloseCause(code: .abnormal, initiator: .network) == .connectionLost)
    }

    @Test("A failure at an event has the cause that belongs to its code")
    func failures() {
        #expect(DeliveryFailure.status(404).closeCause == .appRefused)
        #expect(DeliveryFailure.status(500).closeCause == .appFailed)
        #expect(DeliveryFailure.badReply("x").closeCause == .appFailed)
        #expect(DeliveryFailure.status(503).closeCause == .appUnavailable)
        #expect(DeliveryFailure.timeout.closeCause == .appUnavailable)
    }
}
