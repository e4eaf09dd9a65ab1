import Testing
import WebSocketProtocol

@Suite struct CloseHandshakeTests {
    @Test("A client that closes gets its code back and the transport ends")
    func peerFirst() {
        var close = CloseHandshake()
        #expect(close.isOpen)
        #expect(close.closeCode == nil)
        #expect(close.initiator == nil)
        #expect(close.receivedClose(.goingAway) == .replyThenClose(.goingAway))
        #expect(close.isClosed)
        #expect(!close.isOpen)
        #expect(close.closeCode == .goingAway)
        #expect(close.initiator == .client)
    }

    @Test("A client that closes without a code gets an empty answer and is reported with 1005")
    func peerWithoutCode() {
        var close = CloseHandshake()
        #expect(close.receivedClose(nil) == .replyThenClose(nil))
        #expect(close.closeCode == .noStatus)
    }

    @Test("Our close waits for the client's and keeps our code")
    func localFirst() {
        var close = CloseHandshake()
        #expect(close.localClose(.serviceRestart) == .sendClose(.serviceRestart))
        #expect(!close.isOpen)
        #expect(!close.isClosed)
        #expect(close.closeCode == .serviceRestart)
        #expect(close.initiator == .server)
        #expect(close.receivedClose(.normal) == .closeNow)
        #expect(close.isClosed)
        #expect(close.closeCode == .serviceRestart)
        #expect(close.initiator == .server)
    }

    @Test("Only the first close of our own is sent")
    func localTwice() {
        var close = CloseHandshake()
        #expect(close.localClose(.normal) == .sendClose(.normal))
        #expect(close.localClose(.internalError) == .ignore)
        #expect(close.closeCode == .normal)
    }

    @Test("A violation is answered without waiting")
    func violation() {
        var close = CloseHandshake()
        #expect(close.fail(.protocolError) == .sendThenClose(.protocolError))
        #expect(close.closeCode == .protocolError)
        #expect(close.initiator == .server)
        #expect(close.isClosed)
    }

    @Test("A violation after our close ends the transport without a second Close frame")
    func violationAfterClose() {
        var close = CloseHandshake()
        #expect(close.localClose(nil) == .sendClose(nil))
        #expect(close.fail(.protocolError) == .closeNow)
        #expect(close.closeCode == .noStatus)
        #expect(close.initiator == .server)
    }

    @Test("A transport that ends without a Close frame is reported with 1006")
    func vanished() {
        var close = CloseHandshake()
        close.transportClosed()
        #expect(close.closeCode == .abnormal)
        #expect(close.initiator == .network)
        #expect(close.isClosed)
    }

    @Test("A client that never answers our close is reported with our code")
    func unanswered() {
        var close = CloseHandshake()
        #expect(close.localClose(.goingAway) == .sendClose(.goingAway))
        close.transportClosed()
        #expect(close.closeCode == .goingAway)
        #expect(close.initiator == .server)
        #expect(close.isClosed)
    }

    @Test("Once closed, nothing is sent and the report stays")
    func afterwards() {
        var close = CloseHandshake()
        #expect(close.receivedClose(.normal) == .replyThenClose(.normal))
        #expect(close.receivedClose(.goingAway) == .ignore)
        #expect(close.localClose(.goingAway) == .ignore)
        #expect(close.fail(.tooBig) == .ignore)
        close.transportClosed()
        #expect(close.closeCode == .normal)
        #expect(close.initiator == .client)
    }
}
