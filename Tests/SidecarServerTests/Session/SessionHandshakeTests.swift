import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("The handshake of a session")
struct SessionHandshakeTests {
    @Test("An accepted client has its transport, counts, and is told of its end")
    func accepted() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            #expect(rig.app.asked == "open" && rig.gate.asked == [.handshakes])
            #expect(client.responder.decisions == [] && !client.session.isRunning)
            try rig.app.answer(204)
            #expect(client.responder.decisions == ["accept 204"])
            #expect(client.session.isRunning && client.session.transport === client.transport)
            #expect(rig.state.sessions == 1)
            client.leaves()
            #expect(rig.state.sessions == 0)
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "close 1001 by client"])
    }

    @Test("A refusal is relayed, and the app hears of no end", arguments: [302, 403, 503])
    func refused(status: Int) throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.untilGone({ try $0.connect() }) { client in
            try rig.app.answer(status, body: "no")
            #expect(client.responder.decisions == ["relay \(status) no"])
            client.breaks()
        }
        #expect(rig.app.heard == ["open"])
    }

    @Test("Without a usable answer it fails, and the app hears of no end")
    func failed() throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.untilGone({ try $0.connect() }) { client in
            try rig.app.fail(.timeout)
            #expect(client.responder.decisions == ["fail timeout"])
        }
        #expect(rig.app.heard == ["open"])
    }

    @Test("An acceptance that breaks the contract fails for the client, and the app hears of the end")
    func badAcceptance() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            try rig.app.answer(200, "Sidesocket-Close: nonsense\r\n")
            #expect(client.responder.decisions == ["fail bad_reply"])
            #expect(client.transport.log == [])
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "close 1006 by server"])
    }

    @Test(
        "Who gets no turn at all is turned away without the app",
        arguments: [
            (FakeGate.Mode.isFull, "refuse 503 connection_limit"), (.isUnavailable, "refuse 503 app_failed"),
        ]
    )
    func turnedAway(mode: FakeGate.Mode, decision: String) throws {
        let rig = try SessionRig()
        rig.gate.mode = mode
        try rig.untilGone({ try $0.connect() }) { client in
            #expect(client.responder.decisions == [decision])
        }
        #expect(rig.app.heard == [])
    }

    @Test("Who waits too long for its turn is turned away, and a turn that was on its way goes back")
    func turnTooLate() throws {
        let rig = try SessionRig()
        rig.gate.mode = .queues
        try rig.untilGone({ try $0.connect() }) { client in
            client.session.admissionTimedOut()
            #expect(client.responder.decisions == ["refuse 503 timeout"])
            #expect(rig.gate.givenUp == 1)
        }
        try rig.untilGone({ try $0.connect() }) { client in
            rig.gate.call()
            client.session.admissionTimedOut()
            #expect(client.responder.decisions == ["refuse 503 timeout"])
            rig.gate.tell()
            #expect(rig.gate.outcomes == [.neutral])
        }
        #expect(rig.app.heard == [])
    }

    @Test("Once the app is asked, the time for a turn no longer matters")
    func turnInTime() throws {
        let rig = try SessionRig()
        rig.gate.mode = .queues
        try rig.untilGone({ try $0.connect() }) { client in
            rig.gate.mode = .grants
            rig.gate.grant()
            client.session.admissionTimedOut()
            #expect(client.responder.decisions == [] && rig.app.asked == "open")
            try rig.app.answer(403)
        }
    }

    // MARK: A client that goes meanwhile

    @Test("A client that goes while it waits for its turn is never mentioned to the app", arguments: [false, true])
    func goesInTheQueue(isTurnOnItsWay: Bool) throws {
        let rig = try SessionRig()
        rig.gate.mode = .queues
        try rig.untilGone({ try $0.connect() }) { client in
            if isTurnOnItsWay { rig.gate.call() }
            client.session.transportEnded(code: .abnormal, reason: "", initiator: .network)
            rig.gate.tell()
            #expect(client.responder.decisions == [])
        }
        #expect(rig.app.heard == [])
        #expect(rig.gate.givenUp == (isTurnOnItsWay ? 0 : 1))
    }

    @Test("A client that goes while the app decides has an end if the app accepts it", arguments: [204, 403])
    func goesWhileTheAppDecides(status: Int) throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            client.session.transportEnded(code: .abnormal, reason: "", initiator: .network)
            #expect(rig.app.heard == ["open"])
            try rig.app.answer(status, "Sidesocket-User: alice\r\nSidesocket-Subscribe: room\r\n")
            #expect(client.responder.decisions == [])
            if status == 204 { try rig.app.answer(204) }
        }
        #expect(rig.app.heard == (status == 204 ? ["open", "close 1006 by network"] : ["open"]))
    }

    // MARK: Without a transport

    @Test("Between its acceptance and its transport a session lives, and what is sent then is lost")
    func detached() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            client.responder.transport = nil
            try rig.app.answer(200, "Sidesocket-Subscribe: room\r\nContent-Type: text/plain\r\n", body: "lost")
            #expect(client.responder.decisions == ["accept 200"] && client.session.isRunning)
            let message = PreparedMessage(.text, ByteBuffer(string: "lost too"))
            let isQueued = client.session.deliver(message)
            #expect(!isQueued)
            client.session.attach(client.transport)
            client.send("x")
            try rig.app.answer(200, "Content-Type: text/plain\r\n", body: "found")
            #expect(client.transport.log == ["send found"])
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test("A session that never gets its transport ends like any other")
    func neverAttached() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            client.responder.transport = nil
            try rig.app.answer(204, "Sidesocket-User: alice\r\nSidesocket-Subscribe: room\r\n")
            client.session.close(code: .goingAway, reason: "")
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "close 1001 by server"])
    }

    // MARK: Replays

    @Test("A stream that returns gets its replay once, before anything else of the reply")
    func replay() throws {
        let rig = try SessionRig()
        try rig.untilGone({ rig in
            let client = try rig.makeClient(.eventStream, lastEventID: "")
            client.session.start(responder: client.responder)
            return client
        }) { client in
            try rig.app.answer(200, "Sidesocket-Subscribe: room\r\nContent-Type: text/plain\r\n", body: "hi")
            #expect(client.transport.log.count == 2)
            #expect(client.transport.log.first?.hasPrefix("replay ") == true)
            #expect(client.transport.log.last == "send hi")
            #expect(client.session.continued?.awaitsReplay == false)
            client.session.close(code: .normal, reason: "")
            try rig.app.answer(204)
        }
    }
}
