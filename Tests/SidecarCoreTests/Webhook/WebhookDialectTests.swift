import HTTP1
import NIOCore
import Testing

@testable import SidecarCore

/// What any dialect promises to the sessions, tried by way of the protocol.
@Suite("A dialect, as sessions know it")
struct WebhookDialectTests {
    private static let dialects: [any WebhookDialect] = [
        CloudEventsDialect(
            nodeName: "node-1",
            authority: "app:3000",
            preserveHost: false,
            webhookPath: nil,
            forwardedHeaders: ["cookie"]
        )
    ]

    private func connection(
        _ dialect: any WebhookDialect,
        _ transportKind: TransportKind = .webSocket
    ) throws -> WebhookConnection {
        dialect.connection(
            for: try Heads.request("GET /ws?a=1 HTTP/1.1", "Host: shop.example", "Cookie: a=1", "Upgrade: websocket"),
            id: "c1",
            client: ClientIdentity(address: "203.0.113.9", scheme: "https"),
            transportKind: transportKind
        )
    }

    /// The deliveries of a life: two messages, one of them in a batch, a revalidation and the end.
    private func deliveries() -> [SidecarCore.Delivery] {
        var machine = SessionStateMachine(maxBatch: 2)
        var found: [SidecarCore.Delivery] = []
        func take(_ step: SessionStateMachine.Step) {
            if case .deliver(let delivery) = step { found.append(delivery) }
        }
        take(machine.begin())
        take(machine.accepted(at: .at(0)))
        for text in ["a", "b", "c"] { take(machine.received(.text, ByteBuffer(string: text), at: 1)) }
        take(machine.revalidate())
        for _ in 0..<3 { take(machine.answered()) }
        take(machine.ended(code: .normal, reason: "", initiator: .client, at: .at(5)))
        return Array(found.dropFirst())
    }

    private func request(
        _ delivery: SidecarCore.Delivery,
        _ dialect: any WebhookDialect,
        _ connection: WebhookConnection,
        _ identity: ConnectionIdentity
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        dialect.encode(
            delivery.event,
            sequence: delivery.sequence,
            of: dialect.prepare(connection),
            identity: dialect.prepare(identity),
            unixMilliseconds: 7,
            signedAt: 0,
            into: &buffer
        )
        return buffer
    }

    @Test("The facts of a handshake are told to the session, and the subject stays with the connection")
    func facts() throws {
        for dialect in Self.dialects {
            let connection = try connection(dialect)
            #expect(connection.id == "c1" && connection.subject == "/ws?a=1")
            #expect(connection.forwarding.addresses == "203.0.113.9" && connection.forwarding.host == "shop.example")
            #expect(dialect.prepare(connection).subject == "/ws?a=1")
            #expect(dialect.prepare(ConnectionIdentity()) == nil)
        }
    }

    @Test("What carries the session stays with the connection", arguments: TransportKind.allCases)
    func transport(kind: TransportKind) throws {
        for dialect in Self.dialects {
            let connection = try connection(dialect, kind)
            #expect(connection.transportKind == kind)
            #expect(dialect.prepare(connection).transportKind == kind)
        }
    }

    @Test(
        "A connection taken from its record has the same requests, byte for byte, on another node, too",
        arguments: TransportKind.allCases
    )
    func sameAfterRestart(kind: TransportKind) throws {
        for dialect in Self.dialects {
            let connection = try connection(dialect, kind)
            let identity = ConnectionIdentity(user: "é", state: "s\n", claims: [.init(name: "claima", value: "1 2")])
            let kept = try WebhookConnection(record: connection.record, id: "c1")
            let keptIdentity = try ConnectionIdentity(record: identity.record)
            let other = CloudEventsDialect(
                nodeName: "node-2",
                authority: "elsewhere",
                preserveHost: true,
                webhookPath: "/hook",
                forwardedHeaders: []
            )
            let deliveries = deliveries()
            #expect(deliveries.map(\.event.kind) == [.message, .message, .revalidate, .close])
            for delivery in deliveries {
                let before = request(delivery, dialect, connection, identity)
                let after = request(delivery, other, kept, keptIdentity)
                #expect(before == after)
            }
        }
    }

    @Test("A message answers one event and no batch, and a status other than 2xx is a failure")
    func decodes() throws {
        for dialect in Self.dialects {
            let good = try Heads.reply("HTTP/1.1 200 OK", "Content-Type: text/plain", "Sidesocket-User: 7")
            let reply = try dialect.decode(good, ByteBuffer(string: "hi"), events: 1)
            #expect(reply.output == .message(.text, ByteBuffer(string: "hi")) && reply.user == "7")
            #expect(throws: DeliveryFailure.self) { try dialect.decode(good, ByteBuffer(string: "hi"), events: 2) }
            let bad = try Heads.reply("HTTP/1.1 503 no")
            #expect(throws: DeliveryFailure.status(503)) { try dialect.decode(bad, ByteBuffer(), events: 1) }
        }
    }

    @Test("An answer changes who the client is, by fields and then by commands; empty names forget")
    func marks() throws {
        let dialect = Self.dialects[0]
        let commands = "application/vnd.sidesocket+json"
        let head = try Heads.reply("HTTP/1.1 200 OK", "Content-Type: \(commands)", "Sidesocket-State: s1")
        let body = ByteBuffer(string: #"[{"user":"a"},{"user":""},{"state":"s2"}]"#)
        let reply = try dialect.decode(head, body, events: 1)
        let claims = [ConnectionIdentity.Claim(name: "claima", value: "1")]
        let marked = ConnectionIdentity(user: "b", claims: claims).marked(by: reply)
        #expect(marked == ConnectionIdentity(user: nil, state: "s2", claims: claims))
    }
}
