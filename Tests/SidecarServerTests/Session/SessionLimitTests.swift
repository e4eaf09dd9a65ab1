import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("The limits of a session")
struct SessionLimitTests {
    private static let rate = ["MESSAGE_RATE": "1/1m,burst=2"]

    // MARK: Rates

    @Test("Above its rate nothing more is read for a while, and nothing is lost")
    func throttles() throws {
        let rig = try SessionRig(Self.rate)
        try rig.untilGone { client in
            client.send("1")
            #expect(!client.session.mustPauseReading)
            client.send("2")
            #expect(client.session.mustPauseReading)
            for _ in 0..<2 { try rig.app.answer(204) }
            let before = client.transport.resumed
            rig.passes(.seconds(50))
            #expect(client.session.mustPauseReading && client.transport.resumed == before)
            rig.passes(.seconds(11))
            #expect(!client.session.mustPauseReading && client.transport.resumed == before + 1)
            client.leaves()
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message 1", "message 2", "close 1001 by client"])
    }

    @Test("A pause counts once there is something that it delays")
    func countsPauses() throws {
        let rig = try SessionRig(Self.rate)
        let line = RefusalKind(DryRunLimit.messageRate).event
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            for _ in 0..<2 { try rig.app.answer(204) }
            rig.passes(.seconds(10))
            #expect(!rig.log.messages.contains(line))
            client.transport.hasInputWaiting = true
            rig.passes(.seconds(20))
            #expect(rig.log.messages.filter { $0 == line }.count == 1)
            rig.passes(.seconds(40))
            #expect(client.session.backPressure.throttle == nil)
            client.leaves()
            try rig.app.answer(204)
        }
        #expect(rig.log.messages.filter { $0 == line }.count == 1)
    }

    @Test("The end of a session ends its pause")
    func endEndsPause() throws {
        let rig = try SessionRig(Self.rate)
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            client.leaves()
            #expect(client.session.backPressure.throttle == nil && !client.session.mustPauseReading)
            for _ in 0..<3 { try rig.app.answer(204) }
        }
    }

    @Test("Other settings end a pause, and the next message decides anew")
    func settingsEndPause() throws {
        let rig = try SessionRig(Self.rate)
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            #expect(client.session.mustPauseReading)
            try rig.reload(["MESSAGE_RATE": "off"])
            #expect(!client.session.mustPauseReading)
            #expect(client.transport.resumed == 1 && client.transport.settingsChanges == [false])
            client.send("3")
            #expect(!client.session.mustPauseReading)
            client.leaves()
            for _ in 0..<4 { try rig.app.answer(204) }
        }
    }

    @Test("With RATE_LIMIT_ACTION=close it is closed, after what came in time")
    func closes() throws {
        let rig = try SessionRig(Self.rate.merging(["RATE_LIMIT_ACTION": "close"]) { $1 })
        try rig.untilGone { client in
            for text in ["1", "2", "3", "4"] { client.send(text) }
            #expect(client.transport.log == ["close 4429 too many messages"])
            for _ in 0..<3 { try rig.app.answer(204) }
        }
        #expect(rig.app.heard == ["open", "message 1", "message 2", "close 4429 by server"])
    }

    @Test("So it is for too many bytes")
    func closesForBytes() throws {
        let rig = try SessionRig(["BYTE_RATE": "1KiB/1m,burst=1KiB", "RATE_LIMIT_ACTION": "close"])
        try rig.untilGone { client in
            client.send(String(repeating: "x", count: 1000))
            #expect(client.transport.log == [])
            client.send(String(repeating: "x", count: 1000))
            #expect(client.transport.log == ["close 4429 too many bytes"])
            for _ in 0..<2 { try rig.app.answer(204) }
        }
    }

    // MARK: What waits for the app

    @Test("Above MAX_PENDING_BYTES nothing more is read until the app has answered", arguments: [-1, 0, 1])
    func pendingBytes(beside: Int) throws {
        let one = 1 + SessionStateMachine.messageOverhead
        let rig = try SessionRig(["MAX_PENDING_BYTES": "\(2 * one + beside)"])
        try rig.untilGone { client in
            client.send("1")
            #expect(!client.session.mustPauseReading)
            client.send("2")
            #expect(client.session.mustPauseReading == (beside <= 0))
            #expect(rig.state.pendingBytes.held == 2 * one)
            try rig.app.answer(204)
            #expect(!client.session.mustPauseReading && client.transport.resumed == 1)
            #expect(rig.state.pendingBytes.held == one)
            client.leaves()
            for _ in 0..<2 { try rig.app.answer(204) }
        }
    }

    @Test("While the budget of the process is spent nobody reads, and all read on when it is not")
    func budget() throws {
        let rig = try SessionRig()
        let budget = rig.state.pendingBytes
        try rig.untilGone { client in
            budget.adjust(by: budget.limit)
            #expect(client.session.mustPauseReading && client.session.mustPauseReading)
            rig.passes(.seconds(1))
            #expect(client.transport.resumed == 0 && client.session.mustPauseReading)
            budget.adjust(by: -budget.limit)
            rig.passes(.milliseconds(50))
            #expect(client.transport.resumed == 1 && !client.session.mustPauseReading)
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test("That counts once there is something that waits")
    func budgetCounts() throws {
        let rig = try SessionRig()
        let budget = rig.state.pendingBytes
        let line = RefusalKind.totalPendingBytes.event
        try rig.untilGone { client in
            budget.adjust(by: budget.limit)
            _ = client.session.mustPauseReading
            rig.passes(.seconds(1))
            #expect(!rig.log.messages.contains(line))
            client.transport.hasInputWaiting = true
            rig.passes(.seconds(1))
            budget.adjust(by: -budget.limit)
            rig.passes(.seconds(1))
            #expect(rig.log.messages.filter { $0 == line }.count == 1)
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test("Who goes while it waits for the budget is forgotten with the rest")
    func goesWithoutBudget() throws {
        let rig = try SessionRig()
        let budget = rig.state.pendingBytes
        try rig.untilGone { client in
            budget.adjust(by: budget.limit)
            _ = client.session.mustPauseReading
            client.leaves()
            #expect(!client.session.mustPauseReading, "an ended session waits for nothing")
            try rig.app.answer(204)
            budget.adjust(by: -budget.limit)
            rig.passes(.milliseconds(50))
        }
    }

    @Test("A client that has gone and whose end nobody takes still costs something")
    func owedClose() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            client.leaves()
            #expect(rig.state.pendingBytes.held == 2048)
            try rig.app.answer(204)
        }
    }

    // MARK: Channels

    @Test("A session that has ended is in no channel, and joins none")
    func channels() throws {
        let rig = try SessionRig()
        let room = try #require(ChannelName("room"))
        try rig.untilGone({ try $0.open("Sidesocket-Subscribe: room\r\n") }) { client in
            #expect(client.session.isIn(room) && rig.state.subscriptions == 1)
            client.send("x")
            client.leaves()
            #expect(rig.state.subscriptions == 0)
            try rig.app.answer(204, "Sidesocket-Subscribe: room, other\r\n")
            #expect(rig.state.subscriptions == 0)
            try rig.app.answer(204, "Sidesocket-Subscribe: room\r\n")
        }
    }

    @Test("What is published is not sent to who has no room for it")
    func noRoom() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            let message = PreparedMessage(.text, ByteBuffer(string: "x"))
            let first = client.session.deliver(message)
            client.transport.hasRoom = false
            let second = client.session.deliver(message)
            #expect(first && !second)
            #expect(client.session.machine.messagesOut == 1)
            client.leaves()
            try rig.app.answer(204)
        }
    }
}
