import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("The handler of a WebSocket")
struct WebSocketHandlerTests {
    private static func text(_ text: String) -> [UInt8] { Conversation.frame(1, Array(text.utf8)) }
    private static func close(_ code: UInt16) -> [UInt8] {
        Conversation.frame(8, [UInt8(code >> 8), UInt8(truncatingIfNeeded: code)])
    }

    /// Lets the client's connection end.
    private func breaks(_ talk: Conversation) {
        talk.rig.client.close(promise: nil)
        talk.rig.loop.run()
    }

    // MARK: Control frames

    @Test("A ping is answered with what it brings")
    func ping() throws {
        let talk = try Conversation(["PING_INTERVAL": "off"])
        try talk.send(9, Array("a".utf8))
        try talk.send(9, [])
        #expect(try talk.frames() == ["pong a", "pong "])
    }

    @Test(
        "Pings and pongs above their rate are still answered, but then nothing is read for a while",
        arguments: [9, 10]
    )
    func controlRate(opcode: UInt8) throws {
        let talk = try Conversation(["PING_INTERVAL": "off", "CONTROL_RATE": "1/2s,burst=2"])
        for _ in 0..<3 { try talk.send(opcode, Array("a".utf8)) }
        #expect(try talk.frames() == (opcode == 9 ? ["pong a", "pong a", "pong a"] : []))
        try talk.send("x")
        #expect(try talk.event() == "")
        talk.rig.passes(.milliseconds(2100))
        #expect(try talk.event() == "message x")
    }

    @Test("A dry run of their rate holds up nobody")
    func controlRateDry() throws {
        let talk = try Conversation([
            "PING_INTERVAL": "off", "CONTROL_RATE": "1/3s,burst=1", "DRY_RUN": "control_rate",
        ])
        for _ in 0..<3 { try talk.send(9, []) }
        try talk.send("x")
        #expect(try talk.event() == "message x")
    }

    @Test("A client that does not read gets the answer to its newest ping only")
    func newestPing() throws {
        let talk = try Conversation(["PING_INTERVAL": "off"])
        talk.rig.client.isWritable = false
        for text in ["a", "b", "c"] { try talk.send(9, Array(text.utf8)) }
        #expect(try talk.frames() == [])
        talk.rig.client.isWritable = true
        talk.rig.client.pipeline.fireChannelWritabilityChanged()
        #expect(try talk.frames() == ["pong c"])
    }

    // MARK: Input

    @Test("A message is one wherever its frames were cut")
    func cut() throws {
        // In two frames, with a ping between them.
        let bytes: [UInt8] =
            [0x01, 0x82, 0, 0, 0, 0] + Array("he".utf8) + Conversation.frame(9, Array("p".utf8))
            + [0x80, 0x83, 0, 0, 0, 0] + Array("llo".utf8)
        for place in 0...bytes.count {
            let talk = try Conversation(["PING_INTERVAL": "off"])
            try talk.send(bytes: bytes[..<place])
            try talk.send(bytes: bytes[place...])
            #expect(try talk.event() == "message hello", "cut at \(place)")
            #expect(try talk.frames() == ["pong p"])
        }
        let slow = try Conversation(["PING_INTERVAL": "off"])
        for byte in bytes { try slow.send(bytes: [byte]) }
        #expect(try slow.event() == "message hello")
    }

    @Test("What comes in one piece, or behind what waits, keeps its order")
    func order() throws {
        let talk = try Conversation(["MAX_PENDING_BYTES": "1"])
        try talk.send(bytes: Self.text("1") + Self.text("2") + Self.text("3").prefix(3))
        try talk.send(bytes: Self.text("3").dropFirst(3) + Self.text("4"))
        for text in ["1", "2", "3", "4"] {
            #expect(try talk.event() == "message \(text)")
            try talk.reply("204 No Content")
        }
        #expect(try talk.event() == "")
    }

    @Test("A client that breaks the protocol is told so, and the app once")
    func violation() throws {
        let talk = try Conversation()
        try talk.send(bytes: [0x81, 0x01, 0x61])  // not masked
        let frames = try talk.frames()
        #expect(frames.count == 1 && frames.first?.hasPrefix("close 1002 ") == true)
        #expect(try talk.event().hasPrefix("close {\"code\":1002"))
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
        #expect(!talk.hasSessions)
    }

    // MARK: What a client had sent before it left

    @Test("Messages that were held up are delivered after the client has gone, and then one close event")
    func residual() throws {
        let talk = try Conversation(["MAX_PENDING_BYTES": "1"])
        try talk.send(bytes: Self.text("1") + Self.text("2") + Self.text("3"))
        breaks(talk)
        #expect(talk.rig.shard.state.sessions == 0, "it no longer counts")
        for text in ["1", "2", "3"] {
            #expect(try talk.event() == "message \(text)")
            try talk.reply("204 No Content")
        }
        #expect(
            try talk.event().hasPrefix(
                "close {\"code\":1006,\"reason\":\"\",\"initiator\":\"network\",\"messagesIn\":3"
            )
        )
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
        #expect(!talk.hasSessions && talk.rig.shard.state.pendingBytes.held == 0)
    }

    @Test("A Close frame among them is how it ended, and what is behind it does not count")
    func residualClose() throws {
        let talk = try Conversation(["MAX_PENDING_BYTES": "1"])
        try talk.send(bytes: Self.text("1") + Self.text("2") + Self.close(1001) + Self.text("no"))
        breaks(talk)
        for text in ["1", "2"] {
            #expect(try talk.event() == "message \(text)")
            try talk.reply("204 No Content")
        }
        #expect(
            try talk.event().hasPrefix("close {\"code\":1001,\"reason\":\"\",\"initiator\":\"client\",\"messagesIn\":2")
        )
        try talk.reply("204 No Content")
        #expect(!talk.hasSessions && talk.rig.shard.state.pendingBytes.held == 0)
    }

    @Test("An app that closes drops them")
    func residualDropped() throws {
        let talk = try Conversation(["MAX_PENDING_BYTES": "1"])
        try talk.send(bytes: Self.text("1") + Self.text("2"))
        breaks(talk)
        #expect(try talk.event() == "message 1")
        try talk.reply("204 No Content", "Sidesocket-Close: 4001 bye\r\n")
        #expect(try talk.event().hasPrefix("close {\"code\":4001"))
        try talk.reply("204 No Content")
        #expect(!talk.hasSessions && talk.rig.shard.state.pendingBytes.held == 0)
    }

    @Test("A rate holds them up for five seconds at most, and then the rest is dropped")
    func residualRate() throws {
        let talk = try Conversation(["MESSAGE_RATE": "1/1m,burst=1", "PING_INTERVAL": "off"])
        try talk.send(bytes: Self.text("1") + Self.text("2"))
        breaks(talk)
        #expect(try talk.event() == "message 1")
        #expect(talk.rig.shard.state.pendingBytes.held > 0)
        talk.rig.passes(.seconds(6))
        // The app still works on the first one, so its connection is there.
        try talk.reply("204 No Content")
        #expect(
            try talk.event().hasPrefix(
                "close {\"code\":1006,\"reason\":\"\",\"initiator\":\"network\",\"messagesIn\":1"
            )
        )
        try talk.reply("204 No Content")
        #expect(!talk.hasSessions && talk.rig.shard.state.pendingBytes.held == 0)
    }

    // MARK: Closing handshakes

    @Test("The client's Close frame is answered with its code", arguments: [1000, 1001, 4000])
    func closedByClient(code: UInt16) throws {
        let talk = try Conversation()
        try talk.send(bytes: Self.close(code) + Self.text("no"))
        #expect(try talk.frames() == ["close \(code) "])
        #expect(
            try talk.event().hasPrefix(
                "close {\"code\":\(code),\"reason\":\"\",\"initiator\":\"client\",\"messagesIn\":0"
            )
        )
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
    }

    @Test("Our Close frame waits for the client's; until then its messages are ignored and no pings answered")
    func closedByUs() throws {
        let talk = try Conversation()
        let session = try #require(talk.rig.shard.sessions.all.first)
        session.close(code: SessionCloseCode(rawValue: 4001), reason: "bye", for: .kick)
        #expect(try talk.frames() == ["close 4001 bye"])
        #expect(try talk.event().hasPrefix("close {\"code\":4001"))
        try talk.send("too late")
        try talk.send(9, [])
        #expect(talk.rig.client.isActive)
        try talk.send(bytes: Self.close(4001))
        #expect(try talk.frames() == [])
        #expect(!talk.rig.client.isActive)
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
        #expect(!talk.hasSessions)
    }

    @Test("A client that does not answer our Close frame is not waited for longer than two seconds")
    func closeUnanswered() throws {
        let talk = try Conversation()
        let session = try #require(talk.rig.shard.sessions.all.first)
        session.close(code: SessionCloseCode(rawValue: 4001), reason: "bye", for: .kick)
        #expect(try talk.frames() == ["close 4001 bye"])
        talk.rig.passes(.milliseconds(1500))
        #expect(talk.rig.client.isActive)
        talk.rig.passes(.seconds(1))
        #expect(!talk.rig.client.isActive)
        #expect(try talk.event().hasPrefix("close {\"code\":4001"))
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
    }

    @Test("When both close at once, the app hears of it once")
    func closedByBoth() throws {
        let talk = try Conversation()
        try talk.send("x")
        #expect(try talk.event() == "message x")
        let session = try #require(talk.rig.shard.sessions.all.first)
        session.close(code: .normal, reason: "")
        try talk.send(bytes: Self.close(1001))
        breaks(talk)
        try talk.reply("204 No Content")
        #expect(try talk.event().hasPrefix("close {\"code\":1000,\"reason\":\"\",\"initiator\":\"server\""))
        try talk.reply("204 No Content")
        #expect(try talk.event() == "")
        #expect(!talk.hasSessions)
    }

    // MARK: Afterwards

    /// How a conversation ends.
    enum End: CaseIterable { case client, break_, us, residual }

    @Test("Nothing keeps the handler, its session or its attempt to upgrade", arguments: End.allCases)
    func letGo(end: End) throws {
        var traces = Traces()
        let talk = try Conversation(["MAX_PENDING_BYTES": "1", "PING_INTERVAL": "off"])
        do {
            let session = try #require(talk.rig.shard.sessions.all.first)
            traces.follow(session)
            traces.follow(try talk.rig.client.pipeline.syncOperations.handler(type: WebSocketHandler.self))
            try talk.send(bytes: Self.text("1") + (end == .residual ? Self.text("2") : []))
            _ = try talk.event()
            if end == .us { session.close(code: .normal, reason: "") }
        }
        if end == .client { try talk.send(bytes: Self.close(1000)) }
        breaks(talk)
        for _ in 0..<(end == .residual ? 3 : 2) { try talk.reply("204 No Content") }
        talk.rig.passes(.seconds(20))
        #expect(!talk.hasSessions)
        #expect(traces.alive == [])
    }
}
