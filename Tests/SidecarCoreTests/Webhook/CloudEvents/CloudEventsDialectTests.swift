import HTTP1
import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

@Suite("CloudEvents dialect")
struct CloudEventsDialectTests {
    private let client = ClientIdentity(address: "203.0.113.9", scheme: "https")
    private let id = "Zk3-_x"

    private func dialect(
        node: String = "node-1",
        preserveHost: Bool = true,
        webhookPath: String? = nil,
        forward: [String] = ["cookie", "authorization"]
    ) -> CloudEventsDialect {
        CloudEventsDialect(
            nodeName: node,
            authority: "app:3000",
            preserveHost: preserveHost,
            webhookPath: webhookPath,
            forwardedHeaders: forward
        )
    }

    private func handshake(_ fields: String...) throws -> HTTPRequestHead {
        let upgrade = [
            "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13",
        ]
        return try Heads.request(lines: ["GET /ws/chat?room=1 HTTP/1.1", "Host: shop.example"] + upgrade + fields)
    }

    private func prepared(_ dialect: CloudEventsDialect, _ handshake: HTTPRequestHead) -> PreparedConnection {
        dialect.prepare(dialect.connection(for: handshake, id: id, client: client, transportKind: .webSocket))
    }

    private func open(_ dialect: CloudEventsDialect, _ handshake: HTTPRequestHead) -> [String] {
        var buffer = ByteBuffer()
        dialect.encodeOpen(
            handshake,
            of: prepared(dialect, handshake),
            unixMilliseconds: 1_795_428_000_123,
            signedAt: 0,
            into: &buffer
        )
        return Heads.lines(buffer)
    }

    private func event(
        _ delivery: SidecarCore.Delivery,
        _ dialect: CloudEventsDialect,
        _ handshake: HTTPRequestHead,
        identity: ConnectionIdentity = ConnectionIdentity()
    ) -> [String] {
        var buffer = ByteBuffer()
        dialect.encode(
            delivery.event,
            sequence: delivery.sequence,
            of: prepared(dialect, handshake),
            identity: dialect.prepare(identity),
            unixMilliseconds: 1_795_428_000_123,
            signedAt: 0,
            into: &buffer
        )
        return Heads.lines(buffer)
    }

    /// The delivery of an event that follows `open`.
    private func delivery(_ text: String? = nil, binary: [UInt8] = []) throws -> SidecarCore.Delivery {
        var machine = SessionStateMachine()
        _ = machine.begin()
        _ = machine.accepted(at: .at(0))
        let payload = text.map { ByteBuffer(string: $0) } ?? ByteBuffer(bytes: binary)
        guard case .deliver(let delivery) = machine.received(text == nil ? .binary : .text, payload) else {
            throw Heads.NoHead(lines: [])
        }
        return delivery
    }

    private let start = [
        "ce-specversion: 1.0", "ce-source: /sidesocket/node-1", "ce-subject: /ws/chat?room=1",
        "ce-connectionid: Zk3-_x",
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.example",
    ]

    @Test("The open event carries the end-to-end fields of the handshake and the offered subprotocols")
    func openEvent() throws {
        let lines = open(
            dialect(),
            try handshake(
                "Cookie: a=1",
                "Origin: https://shop.example",
                "Sec-WebSocket-Protocol: chat, v2",
                "Sec-WebSocket-Extensions: permessage-deflate",
                "Accept-Encoding: gzip",
                "Content-Type: text/plain",
                "Expect: x",
                "X-Request-Id: 7"
            )
        )
        #expect(
            lines == ["POST /ws/chat?room=1 HTTP/1.1", "Host: shop.example"] + start + [
                "Cookie: a=1", "Origin: https://shop.example", "Sec-WebSocket-Protocol: chat, v2", "X-Request-Id: 7",
                "ce-type: sidesocket.open", "ce-id: Zk3-_x-1", "ce-sequence: 1", "ce-time: 2026-11-23T10:00:00.123Z",
                "Content-Length: 0", "", "",
            ]
        )
    }

    @Test("A message event has the client's bytes as its body, and repeats only the fields that were asked for")
    func messageEvent() throws {
        let head = try handshake("Cookie: a=1", "cookie: b=2", "Origin: https://x", "X-Request-Id: 7")
        let common = ["POST /ws/chat?room=1 HTTP/1.1", "Host: shop.example"] + start + ["Cookie: a=1", "cookie: b=2"]
        let attributes = [
            "ce-type: sidesocket.message", "ce-id: Zk3-_x-2", "ce-sequence: 2", "ce-time: 2026-11-23T10:00:00.123Z",
        ]
        #expect(
            event(try delivery("hél"), dialect(), head)
                == common + attributes + ["Content-Type: text/plain; charset=utf-8", "Content-Length: 4", "", "hél"]
        )
        #expect(
            event(try delivery(binary: []), dialect(), head)
                == common + attributes + ["Content-Type: application/octet-stream", "Content-Length: 0", "", ""]
        )
    }

    @Test("The close event reports in JSON")
    func closeEvent() throws {
        var machine = SessionStateMachine()
        _ = machine.begin()
        _ = machine.accepted(at: .at(0))
        guard
            case .deliver(let delivery) = machine.ended(code: .normal, reason: "a\"b", initiator: .client, at: .at(8))
        else {
            Issue.record("no close event")
            return
        }
        let lines = event(delivery, dialect(), try handshake())
        let body =
            #"{"code":1000,"reason":"a\"b","initiator":"client","messagesIn":0,"messagesOut":0,"durationMs":8}"#
        #expect(
            lines.suffix(5) == [
                "ce-time: 2026-11-23T10:00:00.123Z", "Content-Type: application/json",
                "Content-Length: \(body.utf8.count)", "", body,
            ]
        )
        #expect(lines.contains("ce-type: sidesocket.close") && lines.contains("ce-id: Zk3-_x-2"))
    }

    @Test("The name of the user and the state of the connection go out encoded, and cannot start a line")
    func identity() throws {
        #expect(dialect().prepare(ConnectionIdentity()) == nil)
        let hostile = "4 2\r\nce-type: sidesocket.open\r\n\r\nGET / HTTP/1.1\u{0}\"%é"
        let identity = ConnectionIdentity(user: "42", state: hostile)
        let lines = event(try delivery("x"), dialect(), try handshake(), identity: identity)
        #expect(lines.filter { $0.hasPrefix("ce-userid:") } == ["ce-userid: 42"])
        #expect(
            lines.filter { $0.hasPrefix("ce-connectionstate:") } == [
                "ce-connectionstate: 4%202%0D%0Ace-type:%20sidesocket.open%0D%0A%0D%0AGET%20/%20HTTP/1.1%00%22%25%C3%A9"
            ]
        )
        #expect(lines.count { $0.hasPrefix("ce-type:") } == 1)
        let onlyUser = dialect().prepare(ConnectionIdentity(user: UserName(hostile)))
        #expect(onlyUser.map { Heads.lines(ByteBuffer(bytes: $0.bytes)).count } == 2)
    }

    @Test("Nobody forges an event: what the client sends under reserved names is left out (abuse cases 26 and 27)")
    func forged() throws {
        let head = try handshake(
            "ce-type: com.example",
            "CE-UserID: admin",
            "Ce-Connectionstate: x",
            "webhook-id: 1",
            "Webhook-Signature: v1,x",
            "Sidesocket-User: admin",
            "X-Forwarded-For: 127.0.0.1",
            "X-Forwarded-Prefix: /x",
            "Forwarded: for=127.0.0.1",
            "X-Real-IP: 127.0.0.1",
            "Transfer-Encoding-X: y"
        )
        let greedy = dialect(
            forward: [
                "ce-type", "ce-userid", "webhook-id", "sidesocket-user", "x-forwarded-for", "x-real-ip", "forwarded",
                "upgrade", "connection",
            ]
        )
        for lines in [open(greedy, head), event(try delivery("x"), greedy, head)] {
            let reserved = lines.filter { line in
                let name = line.lowercased()
                return ["ce-", "webhook-", "sidesocket-", "x-forwarded-", "forwarded:", "x-real-ip:", "upgrade:"]
                    .contains { name.hasPrefix($0) }
            }
            #expect(reserved.count == 11, "\(reserved)")
            #expect(!lines.contains { $0.contains("admin") || $0.contains("127.0.0.1") })
        }
    }

    @Test("Connection names fields away from every event, but none of ours (abuse case 26)")
    func namedByConnection() throws {
        let head = try handshake("Connection: cookie, X-Forwarded-For, ce-id, Host", "Cookie: a=1", "Authorization: b")
        for lines in [open(dialect(), head), event(try delivery("x"), dialect(), head)] {
            #expect(!lines.contains("Cookie: a=1"))
            #expect(lines.contains("Authorization: b") && lines.contains("Host: shop.example"))
            #expect(lines.contains("X-Forwarded-For: 203.0.113.9") && lines.contains { $0.hasPrefix("ce-id: ") })
        }
    }

    @Test("With a webhook path every event goes there, and the client's target is the subject")
    func webhookPath() throws {
        let dialect = dialect(preserveHost: false, webhookPath: "/hooks?x=1")
        for lines in [open(dialect, try handshake()), event(try delivery("x"), dialect, try handshake())] {
            #expect(lines.prefix(2) == ["POST /hooks?x=1 HTTP/1.1", "Host: app:3000"])
            #expect(lines.contains("ce-subject: /ws/chat?room=1") && lines.contains("X-Forwarded-Host: shop.example"))
        }
    }

    @Test("A target and a node name with odd characters are encoded as attributes; the request line keeps the bytes")
    func oddNames() throws {
        let head = try Heads.request("GET /a%2f\"|{}?<%> HTTP/1.1", "Host: a", "Upgrade: websocket")
        let lines = open(dialect(node: "ä b%\"\r\n"), head)
        #expect(lines.first == "POST /a%2f\"|{}?<%> HTTP/1.1")
        #expect(lines.contains("ce-subject: /a%252f%22|{}?<%25>"))
        #expect(lines.contains("ce-source: /sidesocket/%C3%A4%20b%25%22%0D%0A"))
    }

    @Test("Whatever the payload is, the app's parser finds one request with exactly these bytes")
    func bodyStaysABody() throws {
        let hostile = "\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nce-type: sidesocket.open\r\nContent-Length: 0\r\n\r\n"
        let delivery = try delivery(hostile)
        var buffer = ByteBuffer()
        dialect().encode(
            delivery.event,
            sequence: delivery.sequence,
            of: prepared(dialect(), try handshake("Cookie: \u{e9}")),
            identity: dialect().prepare(ConnectionIdentity(user: "\r\n", state: "")),
            unixMilliseconds: 0,
            signedAt: 0,
            into: &buffer
        )
        let lines = requestTranscript(Array(buffer.readableBytesView)).lines
        #expect(lines.first == "POST /ws/chat?room=1 1.1 origin length(\(hostile.utf8.count)) keep")
        #expect(lines.contains("  ce-userid: %0D%0A") && lines.contains("  ce-connectionstate: "))
        #expect(lines.suffix(2) == ["body \(hostile)", "end"])
    }

    @Test("The same delivery is written with the same bytes again, so that a retry has the same ce-id")
    func repeatable() throws {
        let delivery = try delivery("x")
        let head = try handshake("Cookie: a")
        #expect(event(delivery, dialect(), head) == event(delivery, dialect(), head))
    }

    @Test("A batch says in each event what headers say of one, plain where headers are percent-encoded")
    func batch() throws {
        var machine = SessionStateMachine(maxBatch: 4)
        _ = machine.begin()
        _ = machine.accepted(at: .at(0))
        _ = machine.received(.text, ByteBuffer(string: "first"))
        _ = machine.received(.text, ByteBuffer(string: "é\"\n\\\u{7F}"), at: 1_795_428_000_001)
        _ = machine.received(.binary, ByteBuffer(bytes: [0xFB, 0xFF]))
        guard case .deliver(let delivery) = machine.answered() else { throw Heads.NoHead(lines: []) }
        #expect(delivery.sequences == 3...4)
        let identity = ConnectionIdentity(user: "a b%", state: "s\u{1}é")
        let lines = event(delivery, dialect(), try handshake("Cookie: a=1"), identity: identity)
        let fields = lines.dropLast(2)
        #expect(!fields.contains { $0.lowercased().hasPrefix("ce-") })
        #expect(fields.contains("Cookie: a=1") && fields.contains("X-Forwarded-For: 203.0.113.9"))
        #expect(fields.contains("Content-Type: application/cloudevents-batch+json"))
        let body = try #require(lines.last)
        #expect(fields.contains("Content-Length: \(body.utf8.count)"))
        let shared =
            #"{"type":"sidesocket.message","specversion":"1.0","source":"/sidesocket/node-1","#
            + #""subject":"/ws/chat?room=1","connectionid":"Zk3-_x","userid":"a b%","connectionstate":"s\u0001é","#
        let first =
            #""id":"Zk3-_x-3","sequence":"3","time":"2026-11-23T10:00:00.001Z","#
            + #""datacontenttype":"text/plain; charset=utf-8","data":"é\"\u000a\\\u007f"}"#
        let second =
            #""id":"Zk3-_x-4","sequence":"4","time":"2026-11-23T10:00:00.123Z","#
            + #""datacontenttype":"application/octet-stream","data_base64":"+/8="}"#
        #expect(body == "[" + shared + first + "," + shared + second + "]")
    }

    @Test("Events of a WebSocket name no transport, those of others do", arguments: TransportKind.allCases)
    func transport(kind: TransportKind) throws {
        let attribute: [String] =
            switch kind {
            case .webSocket: []
            case .eventStream: ["ce-transport: sse"]
            case .poll: ["ce-transport: poll"]
            case .stream: ["ce-transport: stream"]
            }
        let dialect = dialect()
        let facts = dialect.connection(for: try handshake(), id: id, client: client, transportKind: kind)
        let found = ByteBuffer(bytes: dialect.prepare(facts).bytes)
        let expected = ["POST /ws/chat?room=1 HTTP/1.1", "Host: shop.example"] + start.prefix(4) + attribute
        #expect(Heads.lines(found).filter { !$0.isEmpty } == expected + start.dropFirst(4))
    }

    @Test("A batch of an event stream tells claims, too, and leaves nothing of the attributes in the head")
    func batchOfStream() throws {
        var machine = SessionStateMachine(maxBatch: 2)
        _ = machine.begin()
        _ = machine.accepted(at: .at(0))
        for text in ["a", "b", "c"] { _ = machine.received(.text, ByteBuffer(string: text)) }
        guard case .deliver(let delivery) = machine.answered() else { throw Heads.NoHead(lines: []) }
        let dialect = dialect(node: "ä 1", webhookPath: "/hook")
        let client = ClientIdentity(address: "203.0.113.9", scheme: "http", namedIn: .xRealIP)
        let handshake = try handshake("Cookie: a")
        let facts = dialect.connection(for: handshake, id: id, client: client, transportKind: .eventStream)
        let identity = ConnectionIdentity(
            user: "u",
            claims: [ConnectionIdentity.Claim(name: "claimrole", value: "é\"1")]
        )
        var buffer = ByteBuffer()
        dialect.encode(
            delivery.event,
            sequence: delivery.sequence,
            of: dialect.prepare(facts),
            identity: dialect.prepare(identity),
            unixMilliseconds: 0,
            signedAt: 0,
            into: &buffer
        )
        let lines = Heads.lines(buffer)
        #expect(
            lines.prefix(8) == [
                "POST /hook HTTP/1.1", "Host: shop.example", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: http",
                "X-Forwarded-Host: shop.example", "x-real-ip: 203.0.113.9", "Cookie: a",
                "Content-Type: application/cloudevents-batch+json",
            ]
        )
        let shared =
            #"[{"type":"sidesocket.message","specversion":"1.0","source":"/sidesocket/ä 1","#
            + #""subject":"/ws/chat?room=1","connectionid":"Zk3-_x","transport":"sse","claimrole":"é\"1","userid":"u","#
        #expect(lines.last?.hasPrefix(shared) == true)
    }
}
