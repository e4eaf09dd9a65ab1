import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("What nodes ask each other")
struct NodeRequestTests {
    private static func requests() throws -> [NodeRequest] {
        let room = try #require(ChannelName("room:1"))
        let close = try #require(CloseRequest(code: 4000, reason: "bye, é"))
        return [
            .connections(ConnectionFilter(), after: nil, limit: 100),
            .connections(
                ConnectionFilter(user: "é/\"", address: IPAddress("2001:db8::1"), channel: room),
                after: "x",
                limit: 1000
            ),
            .connection(id: "Zk3mQ0b7"),
            .send(
                DirectMessage(.text, ByteBuffer(string: "grüße\n"), event: "order", waitsForKernel: true),
                id: "x",
                key: "k"
            ),
            .send(
                DirectMessage(.binary, ByteBuffer(bytes: [0, 255]), event: nil, waitsForKernel: false),
                id: "x",
                key: nil
            ),
            .sendToUser(DirectMessage(.text, ByteBuffer(), event: nil, waitsForKernel: false), user: "bob", key: nil),
            .subscribe(id: "x", channel: room), .unsubscribe(id: "x", channel: room), .close(id: "x", close),
            .closeUser(user: "bob", close), .renewToken("a.b.c", id: "x"), .presence(channels: [room]),
            .members(channel: room, after: "bob", limit: 1), .wrote(report: "r", DeliveryCounts(matched: 3, queued: 2)),
        ]
    }

    private static func answers() throws -> [NodeAnswer] {
        let connection = try connection()
        return [
            .connections(ConnectionPage(connections: [connection], next: "x")), .connection(connection),
            .counts(DeliveryCounts(matched: 1, queued: 1, dropped: 1)), .done, .closed(3), .presence([0, 2]),
            .members(connections: 2, users: ["a", "b"]), .failed(.noConnection), .failed(.tooManyChannels),
            .failed(.refused("no")), .failed(.unavailable("later")), .failed(.unknownRequest),
        ]
    }

    private static func connection() throws -> ConnectionInfo {
        ConnectionInfo(
            id: "Zk3mQ0b7",
            user: "bob",
            address: "192.0.2.1",
            subject: "/ws?a=1",
            openedAt: 1_795_428_000_123,
            messagesIn: 1,
            messagesOut: 2,
            pendingBytes: 3,
            channels: [try #require(ChannelName("room:1"))]
        )
    }

    @Test("Every request and answer is read as it was written")
    func roundTrip() throws {
        for request in try Self.requests() { #expect(NodeRequest(json: request.json) == request) }
        for answer in try Self.answers() { #expect(NodeAnswer(json: answer.json) == answer) }
    }

    @Test("Members of later versions are ignored, requests of later versions are not understood")
    func versions() {
        let later = ByteBuffer(string: #"{"connection":{"id":"x","depth":3}}"#)
        #expect(NodeRequest(json: later) == .connection(id: "x"))
        #expect(NodeRequest(json: ByteBuffer(string: #"{"teleport":{"id":"x"}}"#)) == nil)
    }

    @Test(
        "What the API would refuse is refused from a node, too",
        arguments: [
            "", "null", "{}", "[]", #"{"connection":{}}"#, #"{"connection":{"id":1}}"#,
            #"{"subscribe":{"id":"x","channel":"a b"}}"#, #"{"subscribe":{"id":"x","channel":""}}"#,
            #"{"close":{"id":"x","_1":{"code":1006,"reason":""}}}"#, #"{"close":{"id":"x","_1":{"code":99999}}}"#,
            #"{"connections":{"_0":{"address":"1.2.3"},"limit":1}}"#,
            #"{"send":{"_0":{"text":"x","event":"a\nb","waits":false},"id":"x"}}"#,
            #"{"send":{"_0":{"base64":"***","waits":false},"id":"x"}}"#,
        ]
    )
    func refused(json: String) { #expect(NodeRequest(json: ByteBuffer(string: json)) == nil) }

    @Test("A name of a user that is too long is refused")
    func longUser() {
        let name = String(repeating: "a", count: UserName.maxBytes + 1)
        let json = #"{"closeUser":{"user":"\#(name)","_1":{"code":4000,"reason":""}}}"#
        #expect(NodeRequest(json: ByteBuffer(string: json)) == nil)
    }

    @Test("Damaged messages do no harm")
    func damaged() throws {
        var random = SeededRandom(seed: 0x0DD_BA11)
        let seeds = try Self.requests().map(\.json) + Self.answers().map(\.json)
        var readable = 0
        for _ in 0..<4000 {
            var bytes = Array((seeds.randomElement(using: &random) ?? ByteBuffer()).readableBytesView)
            for _ in 0..<Int.random(in: 1...3, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = UInt8.random(in: .min ... .max, using: &random)
                case 1: bytes.remove(at: index)
                default: bytes.insert(bytes[index], at: index)
                }
            }
            let buffer = ByteBuffer(bytes: bytes)
            if NodeRequest(json: buffer) != nil || NodeAnswer(json: buffer) != nil { readable += 1 }
        }
        #expect(readable > 0)
    }

    @Test("Failures keep their meaning from node to node")
    func failures() {
        for failure in [OperatorFailure.noConnection, .tooManyChannels, .refused("no"), .unavailable("later")] {
            #expect(NodeAnswer.Failure(failure).operatorFailure == failure)
        }
        #expect(NodeAnswer.Failure.unknownRequest.operatorFailure == nil)
    }
}

@Suite("The end of a lost node's connection")
struct LostConnectionTests {
    @Test("The machine delivers a close event without a sequence, and is done when it is answered")
    func machine() {
        var machine = SessionStateMachine(lostAt: .now())
        #expect(!machine.isRunning && machine.wasAccepted)
        #expect(machine.received(.text, ByteBuffer(string: "x")) == .wait)
        #expect(machine.ended(code: .goingAway, reason: "", initiator: .server, at: .now()) == .wait)
        guard case .deliver(let event) = machine.tellLoss() else {
            Issue.record("nothing is delivered")
            return
        }
        #expect(event.sequence == 0 && event.event == .close(.lost))
        #expect(machine.tellLoss() == .wait)
        #expect(machine.answered() == .finish)
        var other = SessionStateMachine()
        #expect(other.tellLoss() == .wait)
    }

    @Test("Its report has no counts")
    func report() {
        #expect(String(buffer: CloseReport.lost.json) == #"{"code":1006,"reason":"","initiator":"network"}"#)
    }
}

@Suite("Idempotent results")
struct IdempotentResultsTests {
    @Test("Repeats get the first result, a failure does not count")
    func repeats() async throws {
        let results = IdempotentResults<Int> { _ in 8 }
        #expect(try await results.result(for: "a", at: .now()) { 1 } == 1)
        #expect(try await results.result(for: "a", at: .now()) { 2 } == 1)
        #expect(try await results.result(for: "b", at: .now()) { 3 } == 3)
        await #expect(throws: OperatorFailure.noConnection) {
            try await results.result(for: "c", at: .now()) { throw OperatorFailure.noConnection }
        }
        #expect(try await results.result(for: "c", at: .now()) { 4 } == 4)
    }

    @Test("Keys are bounded by number and size, and forgotten in time")
    func bounds() async throws {
        let few = IdempotentResults<Int>(capacity: 1) { _ in 8 }
        _ = try await few.result(for: "a", at: .now()) { 1 }
        await #expect(throws: IdempotencyKeysFull.self) { _ = try await few.result(for: "b", at: .now()) { 1 } }
        let small = IdempotentResults<Int>(maxBytes: 8) { _ in 8 }
        _ = try await small.result(for: "a", at: .now()) { 1 }
        await #expect(throws: IdempotencyKeysFull.self) { _ = try await small.result(for: "b", at: .now()) { 1 } }
        let brief = IdempotentResults<Int>(lifetime: .seconds(1), capacity: 1) { _ in 8 }
        let now = NIODeadline.now()
        _ = try await brief.result(for: "a", at: now) { 1 }
        #expect(try await brief.result(for: "a", at: now + .milliseconds(999)) { 2 } == 1)
        #expect(try await brief.result(for: "a", at: now + .seconds(1)) { 2 } == 2)
    }
}
