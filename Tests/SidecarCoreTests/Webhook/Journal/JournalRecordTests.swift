import NIOCore
import Testing

@testable import SidecarCore

@Suite("Records of the outbox")
struct JournalRecordTests {
    private let connection = WebhookConnection(
        id: "Zk3-_x",
        node: "ä b%\"\r\n",
        subject: "/ws/é?room=1",
        target: "/hook?x=1",
        host: "shop.example",
        transportKind: .eventStream,
        forwarding: ForwardingFields(
            addresses: "203.0.113.9, 10.0.0.1",
            scheme: "https",
            host: "www.shop.example",
            named: ForwardingFields.NamedAddress(header: .trueClientIP, address: "203.0.113.9")
        ),
        fields: [
            WebhookConnection.Field(name: Array("Cookie".utf8), value: [0x61, 0xE9, 0xFF]),
            WebhookConnection.Field(name: Array("Cookie".utf8), value: []),
        ]
    )
    private let identity = ConnectionIdentity(
        user: "a b%",
        state: "s\u{1}é",
        claims: [.init(name: "claimrole", value: "x\r\n"), .init(name: "claimb", value: "")]
    )
    private let report = CloseReport(
        code: SessionCloseCode(rawValue: 4000),
        reason: "a\"b",
        initiator: .network,
        messagesIn: .max,
        messagesOut: 0,
        durationMilliseconds: .max
    )

    private func connection(_ record: [UInt8]) throws(JournalFault) -> WebhookConnection {
        try WebhookConnection(record: record, id: "Zk3-_x")
    }

    @Test("Every field of a connection comes back")
    func connectionRoundTrip() throws {
        #expect(try connection(connection.record) == connection)
        var plain = connection
        plain.transportKind = .webSocket
        plain.forwarding.named = nil
        plain.fields = []
        (plain.node, plain.subject, plain.host) = ("", "", "")
        #expect(try connection(plain.record) == plain)
    }

    /// The record of a small connection, with these bytes where the transport is.
    private func bytes(transport: [UInt8]) -> [UInt8] {
        let start: [UInt8] = [
            2, 1, 0, 0, 0, 1, 0x6E, 2, 0, 0, 0, 2, 0x2F, 0x73, 3, 0, 0, 0, 2, 0x2F, 0x74, 4, 0, 0, 0, 1, 0x68,
        ]
        let end: [UInt8] = [6, 0, 0, 0, 1, 0x61, 7, 0, 0, 0, 1, 0x70, 8, 0, 0, 0, 1, 0x66]
        return start + transport + end
    }

    @Test("The bytes of a record are those of earlier releases, on every transport", arguments: TransportKind.allCases)
    func transport(kind: TransportKind) throws {
        let mark: [UInt8] =
            switch kind {
            case .webSocket: []
            case .eventStream: [5, 0, 0, 0, 0]
            case .poll: [5, 0, 0, 0, 1, 1]
            case .stream: [5, 0, 0, 0, 1, 2]
            }
        let small = WebhookConnection(
            id: "Zk3-_x",
            node: "n",
            subject: "/s",
            target: "/t",
            host: "h",
            transportKind: kind,
            forwarding: ForwardingFields(addresses: "a", scheme: "p", host: "f", named: nil),
            fields: []
        )
        #expect(small.record == bytes(transport: mark))
        #expect(try connection(bytes(transport: mark)) == small)
    }

    @Test(
        "An unknown transport is refused, and so is one that is named twice, or a field with an unknown tag",
        arguments: [
            [5, 0, 0, 0, 1, 0], [5, 0, 0, 0, 3, 0x73, 0x73, 0x65], [5, 0, 0, 0, 0, 5, 0, 0, 0, 0], [5], [5, 0, 0, 0],
            [0, 0, 0, 0, 0], [11, 0, 0, 0, 0], [255, 0, 0, 0, 0],
        ] as [[UInt8]]
    )
    func unknownTransport(field: [UInt8]) {
        #expect(throws: JournalFault.malformed) { try connection(bytes(transport: field)) }
        #expect(throws: JournalFault.malformed) { try connection(bytes(transport: []) + field) }
    }

    @Test("Every field of an identity comes back, and nobody has an empty record")
    func identityRoundTrip() throws {
        #expect(try ConnectionIdentity(record: identity.record) == identity)
        for one in [
            ConnectionIdentity(user: "u"), ConnectionIdentity(state: ""), ConnectionIdentity(claims: identity.claims),
        ] {
            #expect(try ConnectionIdentity(record: one.record) == one)
        }
        #expect(ConnectionIdentity().record.isEmpty)
        #expect(try ConnectionIdentity(record: []) == ConnectionIdentity())
    }

    @Test("Every field of a close comes back", arguments: [CloseInitiator.client, .server, .network])
    func closeRoundTrip(initiator: CloseInitiator) throws {
        var report = report
        report.initiator = initiator
        #expect(try CloseReport(record: report.record) == report)
    }

    @Test("A record that is cut anywhere, or goes on behind its end, is refused")
    func truncated() {
        for record in [connection.record, identity.record, report.record] {
            for length in 0..<record.count {
                let cut = Array(record[..<length])
                // What has the last fields cut off cleanly may be another good record, but not the same one.
                let whole = try? connection(cut)
                #expect(whole != connection)
                #expect((try? ConnectionIdentity(record: cut)) != identity)
                #expect((try? CloseReport(record: cut)) == nil)
            }
        }
        #expect(throws: JournalFault.malformed) { try connection(connection.record + [0]) }
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: identity.record + [9, 0, 0, 0, 0]) }
        #expect(throws: JournalFault.malformed) { try CloseReport(record: report.record + [7, 0, 0, 0, 0]) }
        #expect(throws: JournalFault.malformed) { try connection([]) }
        #expect(throws: JournalFault.malformed) { try CloseReport(record: []) }
    }

    @Test("A record of an unknown version is refused with the version", arguments: [0, 1, 3, 31] as [UInt8])
    func version(_ version: UInt8) {
        func stamped(_ record: [UInt8]) -> [UInt8] { [version] + record.dropFirst() }
        #expect(throws: JournalFault.unknownVersion(version)) { try connection(stamped(connection.record)) }
        #expect(throws: JournalFault.unknownVersion(version)) {
            try ConnectionIdentity(record: stamped(identity.record))
        }
        #expect(throws: JournalFault.unknownVersion(version)) { try CloseReport(record: stamped(report.record)) }
    }

    @Test("A length that goes beyond the record, or beyond all memory, is refused")
    func lengths() {
        for length: [UInt8] in [[0, 0, 0, 2], [0, 1, 0, 0], [0x7F, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF]] {
            #expect(throws: JournalFault.malformed) { try connection([2, 1] + length + [0x61]) }
            #expect(throws: JournalFault.malformed) {
                try ConnectionIdentity(record: [2, 3, 0, 0, 0, 5] + length + [1])
            }
        }
    }

    @Test("Fields out of order, twice or in a wrong form are refused")
    func order() {
        var writer = JournalWriter()
        writer.write(2, text: "state")
        writer.write(1, text: "user")
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: writer.record) }
        var twice = JournalWriter()
        twice.write(1, text: "a")
        twice.write(1, text: "b")
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: twice.record) }
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: [2]) }
        var notText = JournalWriter()
        notText.write(1, [0xFF])
        #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: notText.record) }
        var wide = JournalWriter()
        wide.write(1, number: 65_536)
        wide.write(2, text: "")
        wide.write(3, text: "client")
        for tag: UInt8 in 4...6 { wide.write(tag, number: 0) }
        #expect(throws: JournalFault.malformed) { try CloseReport(record: wide.record) }
    }

    @Test("What could forge a request is refused: ends of lines, reserved fields, spaces in a target")
    func forged() {
        func isRefused(_ change: (inout WebhookConnection) -> Void) -> Bool {
            var changed = connection
            change(&changed)
            return (try? connection(changed.record)) == nil
        }
        #expect(!isRefused { _ in })
        #expect(isRefused { $0.target = "" } && isRefused { $0.target = "/a b" } && isRefused { $0.target = "/\r\n" })
        #expect(isRefused { $0.host = "a\r\nb: c" } && isRefused { $0.forwarding.addresses = "a\n" })
        #expect(isRefused { $0.forwarding.scheme = "\u{0}" } && isRefused { $0.forwarding.host = "\u{7F}" })
        #expect(isRefused { $0.forwarding.named?.address = "\r" })
        for (name, value) in [
            ("ce-type", "x"), ("CE-Id", "x"), ("a b", "x"), ("", "x"), ("a", "x\r\n"), ("Upgrade", "x"),
        ] {
            #expect(
                isRefused { $0.fields = [WebhookConnection.Field(name: Array(name.utf8), value: Array(value.utf8))] },
                "\(name): \(value)"
            )
        }
        let record = connection.record
        #expect(throws: JournalFault.malformed) { try WebhookConnection(record: record, id: "") }
        #expect(throws: JournalFault.malformed) { try WebhookConnection(record: record, id: "a\r\nb") }
        for name in ["", "type", "userid", "ce-claimx", "claim\r\n", "x"] {
            let claim = ConnectionIdentity(claims: [.init(name: name, value: "1")])
            #expect(throws: JournalFault.malformed, "\(name)") { try ConnectionIdentity(record: claim.record) }
        }
    }

    @Test("The user and the state have the limits of replies, just at them and one above")
    func limits() throws {
        for count in [UserName.maxBytes - 1, UserName.maxBytes] {
            let named = ConnectionIdentity(user: UserName(String(repeating: "a", count: count)))
            #expect(try ConnectionIdentity(record: named.record) == named)
        }
        for count in [SessionReply.maxStateBytes - 1, SessionReply.maxStateBytes] {
            let marked = ConnectionIdentity(state: String(repeating: "a", count: count))
            #expect(try ConnectionIdentity(record: marked.record) == marked)
        }
        let long = [
            ConnectionIdentity(user: UserName(String(repeating: "a", count: UserName.maxBytes + 1))),
            ConnectionIdentity(state: String(repeating: "a", count: SessionReply.maxStateBytes + 1)),
        ]
        for identity in long {
            #expect(throws: JournalFault.malformed) { try ConnectionIdentity(record: identity.record) }
        }
    }
}
