import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// A client, its session and the app, all in memory.
private struct Conversation {
    let rig: EdgeRig

    /// Opens a WebSocket that the app accepts with these fields.
    init(_ environment: [String: String] = [:], accepting fields: String = "") throws {
        rig = try EdgeRig(environment)
        try rig.clientSends(
            "GET /ws/chat?room=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        let open = try rig.appReceived()
        #expect(open.contains("ce-type: sidesocket.open\r\n"))
        try reply("204 No Content", fields)
        let answer = try rig.clientReceived()
        #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
    }

    /// Sends a frame, masked with zeros.
    func send(_ opcode: UInt8, _ payload: [UInt8]) throws {
        let header = [0x80 | opcode, 0x80 | UInt8(truncatingIfNeeded: payload.count), 0, 0, 0, 0]
        try rig.client.writeInbound(ByteBuffer(bytes: header + payload))
        rig.loop.run()
    }

    func send(_ text: String) throws { try send(1, Array(text.utf8)) }

    /// The app answers the event that it has got.
    func reply(_ status: String, _ fields: String = "", body: String = "") throws {
        try rig.appSends("HTTP/1.1 \(status)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    /// The frames that have come at the client: opcode and payload.
    func frames() throws -> [String] {
        rig.loop.run()
        var bytes = ByteBuffer()
        while var more = try rig.client.readOutbound(as: ByteBuffer.self) { bytes.writeBuffer(&more) }
        var found: [String] = []
        while let first = bytes.readInteger(as: UInt8.self), let length = bytes.readInteger(as: UInt8.self),
            var payload = bytes.readSlice(length: Int(length))
        {
            if first & 0x0F == 8 {
                let code = payload.readInteger(as: UInt16.self) ?? 0
                found.append("close \(code) \(String(buffer: payload))")
            } else {
                found.append(String(buffer: payload))
            }
        }
        return found
    }

    /// The type of the event that the app has got, and what it brings.
    func event() throws -> String {
        let request = try rig.appReceived()
        guard let type = request.firstRange(of: "ce-type: sidesocket."), let end = request.firstRange(of: "\r\n\r\n")
        else { return request }
        let name = request[type.upperBound...].prefix { $0 != "\r\n" }
        return "\(name) \(request[end.upperBound...])"
    }

    var hasSessions: Bool { !rig.shard.isWithoutSessions }
}

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
