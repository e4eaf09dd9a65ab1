import NIOCore
import Testing

@testable import SidecarCore

@Suite("Records that version 1 of the outbox wrote")
struct RecordsV1Tests {
    private let head = [
        "POST /hook?x=1 HTTP/1.1", "Host: app:3000", "ce-specversion: 1.0", "ce-source: /sidesocket/node%201",
        "ce-subject: /ws/a%2525?room=1", "ce-connectionid: Zk3-_x", "X-Forwarded-For: 203.0.113.9, 10.0.0.1",
        "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example", "Cookie: a=1: b", "cookie: ",
        "Authorization: Basic x",
    ]

    private func bytes(_ lines: [String]) -> [UInt8] { Array(lines.map { $0 + "\r\n" }.joined().utf8) }

    private func read(_ lines: [String]) throws(JournalFault) -> WebhookConnection {
        try WebhookConnection(record: bytes(lines), id: "Zk3-_x")
    }

    private let dialect = CloudEventsDialect(
        nodeName: "another",
        authority: "elsewhere",
        preserveHost: true,
        webhookPath: nil,
        forwardedHeaders: []
    )

    @Test("The head of a request becomes facts, and these the same head again")
    func connection() throws {
        let connection = try read(head)
        #expect(connection.node == "node 1" && connection.subject == "/ws/a%25?room=1")
        #expect(connection.target == "/hook?x=1" && connection.host == "app:3000")
        #expect(connection.transportKind == .webSocket)
        #expect(connection.fields.map { String(decoding: $0.value, as: UTF8.self) } == ["a=1: b", "", "Basic x"])
        #expect(dialect.prepare(connection).bytes == bytes(head))
    }

    @Test("So do those of event streams, and of clients that a proxy named in a field of its own")
    func variants() throws {
        var lines = head
        lines.insert("x-real-ip: 203.0.113.9", at: 9)
        lines.insert("ce-transport: sse", at: 6)
        let connection = try read(lines)
        #expect(connection.transportKind == .eventStream && connection.fields.count == 3)
        #expect(connection.forwarding.named?.header == .xRealIP)
        #expect(dialect.prepare(connection).bytes == bytes(lines))
        // Nothing but the fields of the sidecar itself.
        let short = try read(Array(head.prefix(9)))
        #expect(short.fields.isEmpty)
        #expect(dialect.prepare(short).bytes == bytes(Array(head.prefix(9))))
    }

    @Test("An unknown transport is refused", arguments: ["", "SSE", "sse ", "websocket", "event_stream"])
    func unknownTransport(name: String) {
        var lines = head
        lines.insert("ce-transport: \(name)", at: 6)
        #expect(throws: JournalFault.malformed) { try read(lines) }
    }

    @Test("A head from which a line or a byte is missing, or that is another's, is refused")
    func damaged() {
        for index in 0..<9 {
            var lines = head
            lines.remove(at: index)
            #expect(throws: JournalFault.malformed, "without \(head[index])") { try read(lines) }
        }
        let whole = bytes(head)
        for length in 1..<whole.count {
            let cut = Array(whole[..<length])
            let found = try? WebhookConnection(record: cut, id: "Zk3-_x")
            #expect(found == nil || found.map { dialect.prepare($0).bytes } == cut)
        }
        #expect(throws: JournalFault.malformed) { try WebhookConnection(record: whole, id: "other") }
        for (index, line) in [
            (0, "GET / HTTP/1.1"), (0, "POST  HTTP/1.1"), (0, "POST /a b HTTP/1.1"), (0, "POST HTTP/1.1"),
            (2, "ce-specversion: 0.3"), (3, "ce-source: /other/node"), (3, "ce-source: /sidesocket/%FF"),
            (9, "ce-type: sidesocket.open"), (9, "no field"), (9, ": x"), (9, "a:b"), (9, "a: \u{1}"),
        ] {
            var lines = head
            lines[index] = line
            #expect(throws: JournalFault.malformed, "\(line)") { try read(lines) }
        }
    }

    @Test("Fields about the client become an identity, and this the same fields again")
    func identity() throws {
        let lines = ["ce-claimrole: a%20b", "ce-claimx: ", "ce-userid: 4%202%0D%0A", "ce-connectionstate: %C3%A9%25"]
        let identity = try ConnectionIdentity(record: bytes(lines))
        #expect(
            identity
                == ConnectionIdentity(
                    user: "4 2\r\n",
                    state: "é%",
                    claims: [.init(name: "claimrole", value: "a b"), .init(name: "claimx", value: "")]
                )
        )
        #expect(dialect.prepare(identity)?.bytes == bytes(lines))
        for bad in [
            ["ce-userid: a", "ce-userid: b"], ["ce-type: x"], ["cookie: x"], ["ce-userid: %FF"], ["ce-userid"],
        ] {
            #expect(throws: JournalFault.malformed, "\(bad)") { try ConnectionIdentity(record: bytes(bad)) }
        }
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: Array("ce-userid: a".utf8)) }
    }

    @Test("The JSON of a close event becomes a report, and this the same JSON again")
    func close() throws {
        let json = #"{"code":1001,"reason":"a\"é","initiator":"client","messagesIn":3,"messagesOut":0,"durationMs":8}"#
        let report = try CloseReport(record: Array(json.utf8))
        #expect(report.code.rawValue == 1001 && report.reason == "a\"é" && report.messagesIn == 3)
        #expect(String(buffer: report.json) == json)
        #expect(throws: JournalFault.malformed) { try CloseReport(record: Array("{}".utf8)) }
        #expect(throws: JournalFault.malformed) { try CloseReport(record: Array(json.utf8.dropLast())) }
    }
}
