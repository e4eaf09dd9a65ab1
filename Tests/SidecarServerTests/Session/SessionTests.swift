import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("A session")
struct SessionTests {
    @Test("A message goes to the app, and its reply to the client")
    func message() throws {
        let talk = try Conversation()
        try talk.send("hello")
        #expect(try talk.event() == "message hello")
        try talk.reply("200 OK", "Content-Type: text/plain\r\n", body: "hi")
        #expect(try talk.frames() == ["hi"])
    }

    @Test("Messages wait for the reply to the one before, and keep their order")
    func order() throws {
        let talk = try Conversation()
        for text in ["one", "two", "three"] { try talk.send(text) }
        for text in ["one", "two", "three"] {
            #expect(try talk.event() == "message \(text)")
            try talk.reply("200 OK", "Content-Type: text/plain\r\n", body: "re: \(text)")
        }
        #expect(try talk.frames() == ["re: one", "re: two", "re: three"])
    }

    @Test("A client that leaves is told of once, behind what it had sent")
    func leaves() throws {
        let talk = try Conversation()
        try talk.send("last words")
        try talk.send(8, [0x03, 0xE9])
        #expect(try talk.event() == "message last words")
        try talk.reply("204 No Content")
        let event = try talk.event()
        #expect(event.hasPrefix("close {\"code\":1001,\"reason\":\"\",\"initiator\":\"client\",\"messagesIn\":1"))
        #expect(talk.hasSessions)
        try talk.reply("204 No Content")
        talk.rig.client.close(promise: nil)
        talk.rig.loop.run()
        #expect(!talk.hasSessions)
    }

    @Test("A connection that breaks while the app works ends with 1006, and its reply has no reader")
    func breaks() throws {
        let talk = try Conversation()
        try talk.send("question")
        #expect(try talk.event() == "message question")
        talk.rig.client.close(promise: nil)
        talk.rig.loop.run()
        try talk.reply("200 OK", "Content-Type: text/plain\r\n", body: "answer")
        let event = try talk.event()
        #expect(event.hasPrefix("close {\"code\":1006,\"reason\":\"\",\"initiator\":\"network\""))
        try talk.reply("204 No Content")
        #expect(!talk.hasSessions)
        #expect(talk.rig.shard.state.pendingBytes.held == 0)
    }

    @Test(
        "A reply that refuses, fails or breaks the contract closes with the code for it",
        arguments: [
            ("403 Forbidden", "", "close 1008 the application refused the message"),
            ("500 Oh", "", "close 1011 the application failed"),
            ("200 OK", "Sidesocket-Close: nonsense\r\n", "close 1011 the application failed"),
            ("200 OK", "Sidesocket-Close: 4001 bye\r\n", "close 4001 bye"),
        ]
    )
    func closes(status: String, fields: String, frame: String) throws {
        let talk = try Conversation()
        try talk.send("x")
        _ = try talk.event()
        try talk.reply(status, fields)
        #expect(try talk.frames() == [frame])
        #expect(try talk.event().hasPrefix("close "))
    }

    @Test("A message may wait out an app that is away, and the next ones behind it")
    func retried() throws {
        let talk = try Conversation(["WEBHOOK_RETRY_FOR": "1m"])
        try talk.send("one")
        try talk.send("two")
        #expect(try talk.event() == "message one")
        try talk.reply("503 Busy")
        #expect(try talk.event() == "", "it is not asked again at once")
        talk.rig.loop.advanceTime(by: .seconds(6))
        #expect(try talk.event() == "message one")
        try talk.reply("204 No Content")
        #expect(try talk.event() == "message two")
        try talk.reply("204 No Content")
        #expect(try talk.frames() == [])
    }

    @Test("A drain waits for the reply under way, then says 1012")
    func drains() throws {
        let talk = try Conversation()
        try talk.send("x")
        _ = try talk.event()
        talk.rig.shard.sessions.drain(over: .zero)
        #expect(try talk.frames() == [])
        try talk.reply("200 OK", "Content-Type: text/plain\r\n", body: "y")
        #expect(try talk.frames() == ["y", "close 1012 the server is restarting"])
        #expect(try talk.event().hasPrefix("close {\"code\":1012"))
    }

    @Test("What a reply publishes reaches the session itself, in order with its own messages")
    func publishes() throws {
        let talk = try Conversation(accepting: "Sidesocket-Subscribe: room\r\n")
        try talk.send("x")
        _ = try talk.event()
        try talk.reply(
            "200 OK",
            "Content-Type: application/vnd.sidesocket+json\r\n",
            body: #"[{"send":{"text":"1"}},{"publish":{"channel":"room","text":"2"}},{"send":{"text":"3"}}]"#
        )
        #expect(try talk.frames() == ["1", "2", "3"])
    }

    @Test("A reply may not lead to more channels than allowed, and nothing of it is applied then")
    func tooManyChannels() throws {
        let talk = try Conversation(["MAX_CHANNELS_PER_CONNECTION": "2"], accepting: "Sidesocket-Subscribe: a, b\r\n")
        try talk.send("x")
        _ = try talk.event()
        try talk.reply("200 OK", "Sidesocket-Subscribe: c\r\nContent-Type: text/plain\r\n", body: "not sent")
        #expect(try talk.frames() == ["close 1011 the application failed"])
    }

    @Test("Nor is a reply applied that leads to too many channels when the client has gone", arguments: [2, 3])
    func tooManyChannelsForNobody(count: Int) throws {
        let talk = try Conversation(["MAX_CHANNELS_PER_CONNECTION": "2", "HISTORY_SIZE": "9"])
        try talk.send("x")
        _ = try talk.event()
        try talk.send(8, [0x03, 0xE8])
        #expect(try talk.frames() == ["close 1000 "])
        let channels = ["a", "b", "c"].prefix(count).joined(separator: ", ")
        try talk.reply(
            "200 OK",
            "Sidesocket-Subscribe: \(channels)\r\nSidesocket-Publish: log\r\nContent-Type: text/plain\r\n",
            body: "late"
        )
        #expect((talk.rig.shard.state.historyBytes > 0) == (count == 2))
        #expect(try talk.event().hasPrefix("close {\"code\":1000"))
        // The reply to the end itself joins nothing, so that it may name as many as it likes.
        try talk.reply("200 OK", "Sidesocket-Subscribe: a, b, c\r\nSidesocket-Broadcast: log last\r\n")
        #expect(talk.rig.shard.state.historyBytes > 0)
        #expect(!talk.hasSessions)
    }

    @Test("Above its rate a client is closed, or not read, as the settings say")
    func rates() throws {
        let closing = try Conversation(["MESSAGE_RATE": "1/1s,burst=1", "RATE_LIMIT_ACTION": "close"])
        try closing.send("1")
        try closing.send("2")
        #expect(try closing.frames() == ["close 4429 too many messages"])
        let throttled = try Conversation(["MESSAGE_RATE": "1/1s,burst=1"])
        try throttled.send("1")
        #expect(try throttled.event() == "message 1")
        try throttled.reply("204 No Content")
        #expect(try throttled.frames() == [])
        #expect(throttled.hasSessions)
    }
}
