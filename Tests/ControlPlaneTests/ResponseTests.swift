import FoundationEssentials
import NIOCore
import Testing

@testable import ControlPlane
@testable import SidecarCore

@Suite("The JSON of answers")
struct ResponseTests {
    private func text(_ value: some Encodable) throws -> String {
        String(buffer: try JSONResponseEncoder.json(value))
    }

    @Test("A connection has all its members, and null for a user that is not known")
    func connections() throws {
        let unknown = """
            {"channels":["room:1","a\\\\b"],"id":"Zk3mQ0b7","ip":"192.0.2.1","messagesIn":3,"messagesOut":4,\
            "openedAt":"2026-11-23T10:00:00.123Z","pendingBytes":5,"subject":"/ws/chat?room=1","user":null}
            """
        #expect(try text(ConnectionResponse(FakeOperator.connection())) == unknown + "\n")
        let known = try text(ConnectionResponse(FakeOperator.connection(user: "42")))
        #expect(known.hasSuffix(#""user":"42"}"# + "\n"))
        let page = ConnectionPage(connections: [FakeOperator.connection()], next: nil)
        #expect(try text(ConnectionListResponse(page)) == "{\"connections\":[\(unknown)],\"next\":null}\n")
        let none = try text(ConnectionListResponse(ConnectionPage(connections: [], next: "Zk3mQ0b7")))
        #expect(none == #"{"connections":[],"next":"Zk3mQ0b7"}"# + "\n")
        #expect(try text(ClosedResponse(closed: 2)) == "{\"closed\":2}\n")
    }

    @Test("A ban has its end as a time, and a list of none is empty")
    func bans() throws {
        let ban = #"{"expiresAt":"2026-11-23T10:00:00.123Z","kind":"user","reason":"scraper","value":"eve"}"#
        #expect(try text(BanResponse(FakeOperator.ban())) == ban + "\n")
        #expect(try text(BanListResponse([FakeOperator.ban()])) == "{\"bans\":[\(ban)]}\n")
        #expect(try text(BanListResponse([])) == "{\"bans\":[]}\n")
        let network = try #require(OperatorSyntax.subject(kind: "ip", value: "10.0.0.0/8"))
        let other = try text(BanResponse(BanInfo(subject: network, expiresAt: 0, reason: "")))
        #expect(
            other == #"{"expiresAt":"1970-01-01T00:00:00.000Z","kind":"ip","reason":"","value":"10.0.0.0/8"}"# + "\n"
        )
    }

    @Test("A publication says where it is and how many got it, up to the largest offset")
    func publications() throws {
        let channel = try #require(ChannelName("room:1"))
        let receipt = PublicationReceipt(position: FakeOperator.position, counts: FakeOperator.counts)
        let published = """
            {"channel":"room:1","dropped":1,"epoch":"k3f9x2","matched":3,"offset":18446744073709551615,"queued":2}
            """
        #expect(try text(PublicationResponse(receipt, of: channel)) == published + "\n")
        let delivered = #"{"dropped":1,"matched":3,"queued":2}"#
        #expect(try text(DeliveryResponse(FakeOperator.counts)) == delivered + "\n")
        let entries: [BatchEntryResponse] = [
            .published(PublicationResponse(receipt, of: channel)), .delivered(DeliveryResponse(FakeOperator.counts)),
            .failed(.init(status: 404, detail: "There is no such connection.")),
        ]
        let failed = #"{"detail":"There is no such connection.","status":404}"#
        #expect(try text(entries) == "[\(published),\(delivered),\(failed)]\n")
    }

    @Test("A list of channels names the last one when there are more")
    func channels() throws {
        let summaries = ["one", #"t\wo"#].compactMap { ChannelName($0) }.map(FakeOperator.summary)
        let (one, two) = (#"{"channel":"one","connections":2}"#, #"{"channel":"t\\wo","connections":2}"#)
        func list(_ channels: [ChannelSummary], limit: Int, missing: [String] = []) throws -> String {
            try text(ChannelListResponse(ChannelPage(channels: channels, missing: missing), limit: limit))
        }
        #expect(try list(summaries, limit: 2) == "{\"channels\":[\(one),\(two)],\"next\":null}\n")
        #expect(try list(summaries, limit: 1) == "{\"channels\":[\(one)],\"next\":\"one\"}\n")
        #expect(try list([], limit: 1, missing: ["b"]) == #"{"channels":[],"missing":["b"],"next":null}"# + "\n")
        #expect(try list([], limit: 1) == "{\"channels\":[],\"next\":null}\n")
        let info = ChannelInfo(summary: summaries[0], users: ["alice", "bob"])
        let channel = """
            {"channel":"one","connections":2,"epoch":"k3f9x2","offset":18446744073709551615,\
            "users":["alice","bob"]}
            """
        #expect(try text(ChannelResponse(info)) == channel + "\n")
        let part = ChannelInfo(summary: summaries[0], users: ["alice", "bob"], limit: 1, missing: ["web-2"])
        let shown = try text(ChannelResponse(part))
        #expect(shown.contains(#""missing":["web-2"],"next":"alice""#) && shown.contains(#""users":["alice"]"#))
    }

    @Test("In a cluster answers say which nodes they are about")
    func cluster() throws {
        var counts = FakeOperator.counts
        counts.coverage = ClusterCoverage(nodes: 2, missing: ["web-3"])
        let delivered = #"{"dropped":1,"matched":3,"missing":["web-3"],"nodes":2,"queued":2,"scope":"cluster"}"#
        #expect(try text(DeliveryResponse(counts)) == delivered + "\n")
        var connection = FakeOperator.connection()
        connection.node = "web-1"
        #expect(try text(ConnectionResponse(connection)).contains(#""node":"web-1""#))
        let page = ConnectionPage(connections: [], next: nil, missing: ["web-2"])
        #expect(try text(ConnectionListResponse(page)) == #"{"connections":[],"missing":["web-2"],"next":null}"# + "\n")
        let info = ClusterInfo(engine: ClusterStatus(kind: "redis", isUp: true), nodes: [], warnings: ["Two of them."])
        #expect(try text(NodesResponse(info)).contains(#""warnings":["Two of them."]"#))
    }

    @Test("A kept message has either text or base64, and slashes stay as they are")
    func history() throws {
        let channel = try #require(ChannelName("room:1"))
        func message(_ offset: UInt64, _ format: MessageFormat, _ payload: ByteBuffer) -> StoredMessage {
            StoredMessage(
                offset: offset,
                id: MessageID(offset),
                time: FakeOperator.time,
                format: format,
                payload: payload
            )
        }
        let history = ChannelHistory(
            epoch: FakeOperator.position.epoch,
            messages: [
                message(1, .text, ByteBuffer(string: "grüße/")),
                message(2, .binary, ByteBuffer(bytes: [255, 255, 254])),
                message(3, .text, ByteBuffer()), message(4, .binary, ByteBuffer(bytes: [0])),
            ]
        )
        let time = #""time":"2026-11-23T10:00:00.123Z""#
        let messages = """
            [{"offset":1,"text":"grüße/",\(time)},{"base64":"///+","offset":2,\(time)},\
            {"offset":3,"text":"",\(time)},{"base64":"AA==","offset":4,\(time)}]
            """
        #expect(
            try text(HistoryResponse(history, of: channel))
                == "{\"channel\":\"room:1\",\"epoch\":\"k3f9x2\",\"messages\":\(messages)}\n"
        )
    }

    @Test("Readiness has every member, with null for what is not known", arguments: [nil, false, true])
    func readiness(known: Bool?) throws {
        var readiness = Readiness(
            listening: true,
            draining: false,
            appReachable: known,
            apps: [.init(address: "http://127.0.0.1:3000", breaker: "half-open", isDown: true, inFlight: 7)],
            outboxWritable: known,
            connections: 1,
            maxConnections: 2,
            inFlight: 3,
            maxInFlight: 4,
            pendingBytes: 5,
            maxPendingBytes: 6
        )
        let word = known.map { "\($0)" } ?? "null"
        let rest = """
            {"app":{"reachable":\(word)},"apps":[{"address":"http://127.0.0.1:3000","breaker":"half-open","down":true,\
            "inFlight":7}],"capacity":{"connections":1,"inFlight":3,"maxConnections":2,"maxInFlight":4,\
            "maxPendingBytes":6,"pendingBytes":5},"outbox":{"writable":\(word)},"status":
            """
        #expect(try text(ReadinessResponse(readiness)) == rest + "\"ready\"}\n")
        readiness.needsApp = true
        #expect(try text(ReadinessResponse(readiness)) == rest + "\"app down\"}\n")
        readiness.draining = true
        #expect(try text(ReadinessResponse(readiness)) == rest + "\"draining\"}\n")
        #expect(try text(DrainResponse(draining: true)) == "{\"draining\":true}\n")
    }

    @Test("A problem has the four members of RFC 9457")
    func problems() throws {
        let problem = APIFault(OperatorFailure.bansFull).problem
        let wanted = """
            {"detail":"There are too many bans.","status":507,"title":"Insufficient Storage","type":"about:blank"}
            """
        #expect(try text(problem) == wanted + "\n")
    }

    private struct Reasons: Decodable {
        let reason: String
    }

    @Test(
        "Whatever a text has in it comes out as the same text",
        arguments: [
            "\"quoted\" \\ / \r\n\t\u{8}\u{C}",
            String(String.UnicodeScalarView((0..<0x20).compactMap(Unicode.Scalar.init))),
            "\u{7F}\u{80}\u{2028}\u{2029}\u{FEFF}\u{FFFD}\u{FFFF}", "grüße e\u{301} 🎉\u{10FFFF}", "",
        ]
    )
    func escapes(reason: String) throws {
        let json = try JSONResponseEncoder.json(BanResponse(FakeOperator.ban(reason: reason)))
        // No control character stands as it is, but for the line feed at the end.
        #expect(json.readableBytesView.dropLast().allSatisfy { $0 >= 0x20 })
        #expect(json.readableBytesView.last == 0x0A)
        let decoded = try JSONDecoder().decode(Reasons.self, from: Data(json.readableBytesView))
        #expect(Array(decoded.reason.utf8) == Array(reason.utf8))
        // Our own strict reader takes it too.
        let own = JSONValue(Array(json.readableBytesView))?.object?.first { $0.key == "reason" }?.value.string
        #expect(own.map { Array($0.utf8) } == Array(reason.utf8))
    }
}
