import Testing
import WebSocketProtocol

@Suite struct CloseHandshakeTests {
    @Test("A client that closes gets its code back and the transport ends", arguments: [CloseCode.goingAway, nil])
    func peerFirst(code: CloseCode?) {
        var close = CloseHandshake()
        #expect(close.receivedClose(code) == .replyThenClose(code))
        #expect(close.receivedClose(code) == .ignore)
    }

    @Test("Our close waits for the client's", arguments: [CloseCode.serviceRestart, nil])
    func localFirst(code: CloseCode?) {
        var close = CloseHandshake()
        #expect(close.localClose(code) == .sendClose(code))
        #expect(close.receivedClose(.normal) == .closeNow)
        #expect(close.receivedClose(.normal) == .ignore)
    }

    @Test("Only the first close of our own is sent")
    func localTwice() {
        var close = CloseHandshake()
        #expect(close.localClose(.normal) == .sendClose(.normal))
        #expect(close.localClose(.internalError) == .ignore)
        #expect(close.receivedClose(nil) == .closeNow)
    }

    @Test("A violation is answered without waiting")
    func violation() {
        var close = CloseHandshake()
        #expect(close.fail(.protocolError) == .sendThenClose(.protocolError))
        #expect(close.receivedClose(.protocolError) == .ignore)
    }

    @Test("A violation after our close ends the transport without a second Close frame")
    func violationAfterClose() {
        var close = CloseHandshake()
        #expect(close.localClose(nil) == .sendClose(nil))
        #expect(close.fail(.protocolError) == .closeNow)
        #expect(close.fail(.protocolError) == .ignore)
    }

    @Test("Once closed, nothing is sent", arguments: 0..<5)
    func afterwards(way: Int) {
        var close = CloseHandshake()
        switch way {
        case 0: #expect(close.receivedClose(.normal) == .replyThenClose(.normal))
        case 1: #expect(close.fail(.tooBig) == .sendThenClose(.tooBig))
        case 2: close.transportClosed()
        case 3:
            #expect(close.localClose(.goingAway) == .sendClose(.goingAway))
            close.transportClosed()  // the client has never answered
        default:
            #expect(close.localClose(.goingAway) == .sendClose(.goingAway))
            #expect(close.receivedClose(.goingAway) == .closeNow)
        }
        #expect(close.receivedClose(.goingAway) == .ignore)
        #expect(close.localClose(.goingAway) == .ignore)
        #expect(close.fail(.tooBig) == .ignore)
        close.transportClosed()
        #expect(close.localClose(.goingAway) == .ignore)
    }
}
