import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("The end of a session")
struct SessionEndTests {
    /// What the message before is waiting for.
    enum Moment: CaseIterable { case anAnswer, aRetry, aPermit }
    /// Who ends it.
    enum End: CaseIterable {
        case client, network, operatorOfIt, limit

        var event: String {
            switch self {
            case .client: "close 1001 by client"
            case .network: "close 1006 by network"
            case .operatorOfIt: "close 4001 by server"
            case .limit: "close 1008 by server"
            }
        }

        func befall(_ client: SessionClient) {
            switch self {
            case .client: client.leaves()
            case .network: client.breaks()
            case .operatorOfIt:
                client.session.close(
                    code: SessionCloseCode(rawValue: 4001),
                    reason: "",
                    discarding: true,
                    for: .kick
                )
            case .limit: client.session.closeAsTooSlow()
            }
        }
    }

    @Test(
        "Whenever it comes, what was sent before is delivered, and then one close event",
        arguments: End.allCases,
        Moment.allCases
    )
    func ends(end: End, moment: Moment) throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.untilGone { client in
            if moment == .aPermit { rig.gate.mode = .queues }
            client.send("one")
            client.send("two")
            if moment == .aRetry { try rig.app.answer(503) }
            end.befall(client)
            #expect(rig.closes == [], "the message comes first")
            // A transport that was closed goes some time later.
            client.breaks()
            rig.gate.mode = .grants
            switch moment {
            case .anAnswer: break
            case .aRetry: rig.passes(.seconds(6))
            case .aPermit: rig.gate.grant()
            }
            #expect(rig.app.asked == "message one")
            try rig.app.answer(204)
            if end != .operatorOfIt {
                #expect(rig.app.asked == "message two")
                try rig.app.answer(204)
            }
            #expect(rig.app.asked == end.event)
            try rig.app.answer(204)
        }
        #expect(rig.closes == [end.event])
    }

    @Test("The close event waits for a permit, or retries, like any other", arguments: [Moment.aRetry, .aPermit])
    func closeEvent(moment: Moment) throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.untilGone { client in
            if moment == .aPermit { rig.gate.mode = .queues }
            client.leaves()
            #expect(rig.gate.asked.last == .closes)
            if moment == .aRetry { try rig.app.fail(.timeout) }
            #expect(rig.app.asked == nil && !rig.context.registry.isEmpty)
            rig.gate.mode = .grants
            if moment == .aPermit { rig.gate.grant() } else { rig.passes(.seconds(6)) }
            try rig.app.answer(204)
        }
    }

    @Test("An app that closes in its reply ends it once, and what waits behind is dropped")
    func closedByReply() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            client.send("one")
            client.send("two")
            try rig.app.answer(204, "Sidesocket-Close: 4001 bye\r\n")
            #expect(client.transport.log == ["close 4001 bye"])
            client.breaks()
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message one", "close 4001 by server"])
    }

    @Test("The reply to a message of a client that has gone is not sent, but its channels hear it")
    func replyAfterTheEnd() throws {
        let rig = try SessionRig()
        let other = try rig.open("Sidesocket-Subscribe: room\r\n")
        let client = try rig.open()
        client.send("x")
        client.breaks()
        try rig.app.answer(200, "Sidesocket-Publish: room\r\nContent-Type: text/plain\r\n", body: "he left this")
        #expect(client.transport.log == [])
        #expect(other.transport.log == ["publish he left this"])
        try rig.app.answer(204)
        other.leaves()
        try rig.app.answer(204)
        rig.expectNothingLeft()
    }

    // MARK: Drain

    @Test("A drain closes who is quiet at once")
    func drainsQuiet() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            rig.context.registry.drain(over: .zero)
            #expect(client.transport.log == ["close 1012 the server is restarting"])
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 1012 by server"])
    }

    @Test("A drain waits for all that was sent, whatever it is waiting for", arguments: Moment.allCases)
    func drains(moment: Moment) throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        try rig.untilGone { client in
            if moment == .aPermit { rig.gate.mode = .queues }
            client.send("one")
            client.send("two")
            if moment == .aRetry { try rig.app.answer(503) }
            client.session.drain()
            #expect(client.transport.log == [] && client.session.mustPauseReading)
            rig.gate.mode = .grants
            switch moment {
            case .anAnswer: break
            case .aRetry: rig.passes(.seconds(6))
            case .aPermit: rig.gate.grant()
            }
            for text in ["one", "two"] {
                #expect(rig.app.asked == "message \(text)" && client.transport.log == [])
                try rig.app.answer(204)
            }
            #expect(client.transport.log == ["close 1012 the server is restarting"])
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 1012 by server"])
    }

    @Test("A drain refuses who waits for a turn, and closes whom the app then accepts")
    func drainsHandshakes() throws {
        let rig = try SessionRig()
        rig.gate.mode = .queues
        try rig.untilGone({ try $0.connect() }) { client in
            client.session.drain()
            #expect(client.responder.decisions == ["refuse 503 draining"])
        }
        #expect(rig.app.heard == [])
        rig.gate.mode = .grants
        try rig.untilGone({ try $0.connect() }) { client in
            rig.state.beginDrain()
            client.session.drain()
            #expect(client.responder.decisions == [])
            try rig.app.answer(204)
            #expect(client.responder.decisions == ["accept 204"])
            #expect(client.transport.log == ["close 1012 the server is restarting"])
            try rig.app.answer(204)
        }
    }

    @Test("When the time for the drain is over it is left, whatever it is waiting for", arguments: Moment.allCases)
    func abandoned(moment: Moment) throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        var traces = Traces()
        do {
            let client = try rig.open("Sidesocket-User: alice\r\nSidesocket-Subscribe: room\r\n")
            client.follow(in: &traces)
            if moment == .aPermit { rig.gate.mode = .queues }
            client.send("one")
            if moment == .aRetry { try rig.app.answer(503) }
            #expect(rig.context.registry.abandonAll() == [.lost])
            #expect(client.transport.log == ["close 1012 the server is restarting"])
            client.breaks()
        }
        if moment == .anAnswer { try rig.app.answer(200, "Content-Type: text/plain\r\n", body: "too late") }
        rig.passes(.seconds(60))
        #expect(rig.gate.isQuiet && rig.context.registry.isEmpty && rig.users.all == [:])
        #expect(rig.app.heard.count == (moment == .aPermit ? 1 : 2))
        #expect(rig.log.messages.contains("drain timeout: an event was not delivered"))
        #expect(rig.log.messages.contains("drain timeout: the close event was not delivered"))
        #expect(traces.alive == [] && rig.app.traces.alive == [])
    }

    @Test("A handshake that the app has not decided by then is refused")
    func abandonedHandshake() throws {
        let rig = try SessionRig()
        var traces = Traces()
        do {
            let client = try rig.connect()
            client.follow(in: &traces)
            _ = client.session.abandon()
            #expect(client.responder.decisions == ["refuse 503 draining"])
        }
        try rig.app.answer(204)
        #expect(rig.app.heard == ["open"])
        #expect(rig.gate.isQuiet && rig.context.registry.isEmpty)
        #expect(traces.alive == [] && rig.app.traces.alive == [])
    }
}
