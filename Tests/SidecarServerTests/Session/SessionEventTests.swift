import DeliveryOutbox
import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("The events of a session and the replies to them")
struct SessionEventTests {
    private static let text = "Content-Type: text/plain\r\n"

    @Test("Messages go to the app in order, one at a time")
    func order() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            for text in ["one", "two", "three"] { client.send(text) }
            for text in ["one", "two", "three"] {
                #expect(rig.app.calls.count == 1 && rig.app.asked == "message \(text)")
                try rig.app.answer(200, Self.text, body: "re \(text)")
            }
            #expect(rig.app.calls.isEmpty && client.session.isQuiet)
            #expect(client.transport.log == ["send re one", "send re two", "send re three"])
            client.leaves()
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message one", "message two", "message three", "close 1001 by client"])
    }

    @Test("With WEBHOOK_BATCH what waits goes together, up to that many")
    func batches() throws {
        let rig = try SessionRig(["WEBHOOK_BATCH": "2"])
        try rig.untilGone { client in
            for text in ["1", "2", "3", "4"] { client.send(text) }
            for _ in 0..<3 { try rig.app.answer(204) }
            client.leaves()
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message 1", "messages 2, 3", "message 4", "close 1001 by client"])
    }

    @Test("A reply is applied in order: who it is, what it gets, its end")
    func replyInOrder() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            var known: [String] = []
            client.transport.onSend = { [unowned client] in
                known.append("\(client.session.user ?? "nobody") \(client.session.identity.state ?? "nothing")")
            }
            client.send("x")
            try rig.app.answer(
                200,
                "Sidesocket-Close: 4001 bye\r\nSidesocket-User: alice\r\nSidesocket-State: s\r\n" + Self.text,
                body: "hi"
            )
            #expect(known == ["alice s"])
            #expect(client.transport.log == ["send hi", "close 4001 bye"])
            #expect(rig.app.asked == "close 4001 by server")
            try rig.app.answer(204)
        }
    }

    @Test("The commands of a list are applied in theirs")
    func commands() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.open("Sidesocket-Subscribe: room\r\n") }) { client in
            client.send("x")
            try rig.app.answer(
                200,
                "Content-Type: application/vnd.sidesocket+json\r\n",
                body: #"[{"send":{"text":"1"}},{"publish":{"channel":"room","text":"2"}},{"close":{"code":4001}},"#
                    + #"{"send":{"text":"too late"}}]"#
            )
            #expect(client.transport.log == ["send 1", "publish 2", "close 4001 "])
            try rig.app.answer(204)
        }
    }

    @Test(
        "With WEBHOOK_FAILURE=close a failed message is the last",
        arguments: [
            (500, "close 1011 the application failed", "close 1011 by server"),
            (404, "close 1008 the application refused the message", "close 1008 by server"),
            (503, "close 1013 the application is not available", "close 1013 by server"),
        ]
    )
    func failureCloses(status: Int, frame: String, event: String) throws {
        let rig = try SessionRig(["WEBHOOK_FAILURE": "close", "WEBHOOK_RETRY_FOR": "off"])
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            try rig.app.answer(status)
            #expect(client.transport.log == [frame])
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message 1", event])
    }

    @Test("With WEBHOOK_FAILURE=keep it is only that message")
    func failureKeeps() throws {
        let rig = try SessionRig(["WEBHOOK_FAILURE": "keep"])
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            try rig.app.answer(500)
            try rig.app.answer(204)
            #expect(client.transport.log == [] && client.session.isRunning)
            client.leaves()
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message 1", "message 2", "close 1001 by client"])
    }

    @Test("A close event that nobody takes ends the session all the same")
    func closeUndelivered() throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "off"])
        try rig.untilGone { client in
            client.leaves()
            try rig.app.answer(500)
        }
        #expect(rig.closes == ["close 1001 by client"])
        #expect(rig.log.messages.contains("delivery failed"))
    }

    @Test("A transport that shows in its close that the client has gone ends nothing twice")
    func closeWithinClose() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            client.transport.onClose = { [unowned client] in client.breaks() }
            client.session.close(code: .normal, reason: "bye")
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 1000 by server"])
    }

    // MARK: Sessions of an earlier process

    private func recovered(
        _ rig: SessionRig,
        _ texts: [String],
        close: CloseReport? = nil
    ) throws -> RecoveredSession {
        let dialect = rig.context.configuration.dialect
        return RecoveredSession(
            row: .init(
                id: "old",
                context: [],
                identity: [],
                openedAt: 0,
                messagesIn: 5,
                lastAnswered: 6,
                messages: texts.enumerated().map {
                    .init(sequence: UInt64($0.offset) + 7, format: 1, payload: Array($0.element.utf8), at: 1)
                },
                close: nil
            ),
            messages: texts.map {
                RecoveredSession.Message(format: .text, label: nil, payload: Array($0.utf8), at: 1)
            },
            connection: dialect.connection(
                for: try Samples.head("GET /ws HTTP/1.1", "Host: a"),
                id: "old",
                client: ClientIdentity(address: "192.0.2.1", scheme: "http"),
                transportKind: .webSocket
            ),
            identity: ConnectionIdentity(user: "alice", state: "s"),
            close: close
        )
    }

    /// Delivers what is owed, and returns the ids of the events.
    private func deliver(_ rig: SessionRig, _ recovered: RecoveredSession, answering status: Int) throws -> [String] {
        var traces = Traces()
        do {
            let session = BridgeSession(recovered: recovered, context: rig.context)
            traces.follow(session)
            session.resume(recovered)
        }
        var ids: [String] = []
        while let delivery = rig.app.calls.first?.exchange as? ConnectionEventDelivery, ids.count < 10 {
            ids.append(delivery.eventID)
            try rig.app.answer(status)
        }
        rig.expectNothingLeft()
        #expect(traces.alive == [])
        return ids
    }

    @Test("A session of an earlier process delivers what it owes under its old ids, and ends", arguments: [204, 500])
    func recovers(status: Int) throws {
        let rig = try SessionRig()
        let ids = try deliver(rig, try recovered(rig, ["a", "b"]), answering: status)
        #expect(rig.app.heard == ["message a", "message b", "close 1006 by server"])
        #expect(ids == ["old-7", "old-8", "old-9"])
        #expect(rig.app.traces.alive == [])
    }

    @Test("An end that was recorded is told as it was")
    func recoversEnd() throws {
        let rig = try SessionRig()
        let report = CloseReport(
            code: .goingAway,
            reason: "",
            initiator: .client,
            messagesIn: 5,
            messagesOut: 3,
            durationMilliseconds: 1
        )
        let ids = try deliver(rig, try recovered(rig, ["a"], close: report), answering: 204)
        #expect(rig.app.heard == ["message a", "close 1001 by client"])
        #expect(ids == ["old-7", "old-8"])
    }

    @Test("Its retries go on, and it is kept until they end")
    func recoveryRetries() throws {
        let rig = try SessionRig(["WEBHOOK_RETRY_FOR": "1m"])
        let recovered = try recovered(rig, ["a"])
        BridgeSession(recovered: recovered, context: rig.context).resume(recovered)
        try rig.app.fail(.connect("refused"))
        #expect(!rig.context.registry.isEmpty && rig.gate.inUse == 0)
        rig.passes(.seconds(6))
        try rig.app.answer(204)
        try rig.app.answer(204)
        rig.expectNothingLeft()
        #expect(rig.app.heard == ["message a", "message a", "close 1006 by server"])
    }
}
