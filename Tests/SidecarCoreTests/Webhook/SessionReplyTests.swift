import NIOCore
import Testing

@testable import SidecarCore

@Suite("Replies to events")
struct SessionReplyTests {
    private let dialect: any WebhookDialect = CloudEventsDialect(
        nodeName: "node",
        authority: "app",
        preserveHost: false,
        webhookPath: nil,
        forwardedHeaders: []
    )

    private func read(_ lines: String..., body: [UInt8]) throws -> SessionReply {
        try dialect.decode(try Heads.reply(lines: lines), ByteBuffer(bytes: body), events: 1)
    }

    private func read(_ lines: String..., text: String = "") throws -> SessionReply {
        try dialect.decode(try Heads.reply(lines: lines), ByteBuffer(string: text), events: 1)
    }

    /// True for a final failure that says what the app did wrong.
    private func isBadReply(_ lines: String..., body: [UInt8] = [], batchOf count: Int = 1) throws -> Bool {
        let head = try Heads.reply(lines: lines)
        do throws(DeliveryFailure) {
            _ = try dialect.decode(head, ByteBuffer(bytes: body), events: count)
            return false
        } catch {
            return error.outcome == .badReply && error.sentence.count > 40
        }
    }

    private func text(_ text: String) -> SessionReply.Output { .message(.text, ByteBuffer(string: text)) }

    @Test("204, or any 2xx with an empty body, sends nothing", arguments: [200, 201, 202, 204, 206, 299])
    func empty(status: Int) throws {
        let reply = try read("HTTP/1.1 \(status) x", "Content-Type: application/vnd.sidesocket+json")
        #expect(reply.output == .none && reply.user == nil && reply.state == nil && reply.close == nil)
    }

    @Test("Any other status is a failure that keeps the number", arguments: [300, 302, 304, 400, 404, 429, 500, 599])
    func otherStatus(status: Int) throws {
        #expect(throws: DeliveryFailure.status(status)) {
            try read("HTTP/1.1 \(status) x", "Location: http://169.254.169.254/", "Sidesocket-User: 1", text: "x")
        }
    }

    @Test(
        "Text types give a text message",
        arguments: [
            "text/plain", "TEXT/HTML; charset=utf-8", "text/x", "application/xml", "image/svg+xml",
            "application/vnd.sidesocket+json2+XML", "text/plain;charset=\"a;b\"",
        ]
    )
    func textTypes(type: String) throws {
        #expect(try read("HTTP/1.1 200 OK", "Content-Type: \(type)", text: "{}é").output == text("{}é"))
        #expect(try isBadReply("HTTP/1.1 200 OK", "Content-Type: \(type)", body: [0x61, 0xC3]))
    }

    @Test(
        "Types of JSON give a message that is declared as JSON",
        arguments: [
            "application/json", "application/JSON ; x=y", "application/problem+json", "application/json\t;x",
            "application/vnd.sidesocket2+json",
        ]
    )
    func jsonTypes(type: String) throws {
        let output = SessionReply.Output.message(.json, ByteBuffer(string: "{}é"))
        #expect(try read("HTTP/1.1 200 OK", "Content-Type: \(type)", text: "{}é").output == output)
        #expect(try isBadReply("HTTP/1.1 200 OK", "Content-Type: \(type)", body: [0x61, 0xC3]))
    }

    @Test(
        "Types of MessagePack give a message that is declared as MessagePack",
        arguments: ["application/msgpack", "application/vnd.msgpack", "application/x-msgpack; x"]
    )
    func messagePackTypes(type: String) throws {
        let output = SessionReply.Output.message(.messagePack, ByteBuffer(string: "hi"))
        #expect(try read("HTTP/1.1 200 OK", "Content-Type: \(type)", text: "hi").output == output)
    }

    @Test(
        "Other types give a binary message, also of valid UTF-8",
        arguments: [
            "application/octet-stream", "image/png", "textual/plain", "application/jsonx", "application/x+jsonp",
            "+json", "application/vnd.sidesocket", "json", ";text/plain", "application/json+", "x/y+json z",
        ]
    )
    func binaryTypes(type: String) throws {
        let output = SessionReply.Output.message(.binary, ByteBuffer(string: "hi"))
        #expect(try read("HTTP/1.1 200 OK", "Content-Type: \(type)", text: "hi").output == output)
    }

    @Test("Without a type the bytes decide: valid UTF-8 is text")
    func noType() throws {
        #expect(try read("HTTP/1.1 200 OK", text: "hé").output == text("hé"))
        #expect(try read("HTTP/1.1 200 OK", "Content-Type:", text: "hé").output == text("hé"))
        for bytes: [UInt8] in [
            [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x61, 0xE2, 0x82],
        ] {
            let output = SessionReply.Output.message(.binary, ByteBuffer(bytes: bytes))
            #expect(try read("HTTP/1.1 200 OK", body: bytes).output == output)
        }
        #expect(try read("HTTP/1.1 200 OK", text: "\u{0}").output == text("\u{0}"))
    }

    @Test("A body with a content coding is refused, since nobody could read it; no body has none")
    func contentCoding() throws {
        for coding in ["gzip", "br", "identity, gzip", "", "x"] {
            #expect(try isBadReply("HTTP/1.1 200 OK", "Content-Encoding: \(coding)", body: [1]))
        }
        #expect(try read("HTTP/1.1 200 OK", "Content-Encoding: Identity", text: "x").output == text("x"))
        #expect(try read("HTTP/1.1 200 OK", "Content-Encoding: gzip").output == .none)
    }

    @Test("The user and the state are named by headers, and empty ones clear")
    func identity() throws {
        let reply = try read("HTTP/1.1 204 x", "sidesocket-user: 4 2", "SIDESOCKET-STATE: {\"a\":1}")
        #expect(reply.user == "4 2" && reply.state == "{\"a\":1}")
        let cleared = try read("HTTP/1.1 204 x", "Sidesocket-User:", "Sidesocket-State:  ")
        #expect(cleared.user == "" && cleared.state == "")
    }

    @Test("The user and the state have a longest length, in bytes")
    func identityLimits() throws {
        for (name, limit) in [("User", UserName.maxBytes), ("State", SessionReply.maxStateBytes)] {
            for count in [limit - 1, limit] {
                _ = try read("HTTP/1.1 204 x", "Sidesocket-\(name): \(String(repeating: "a", count: count))")
            }
            #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-\(name): \(String(repeating: "a", count: limit + 1))"))
            #expect(
                try isBadReply("HTTP/1.1 204 x", "Sidesocket-\(name): \(String(repeating: "é", count: limit / 2 + 1))")
            )
        }
    }

    @Test("A header of ours that this version does not know is refused rather than ignored")
    func unknownHeaders() throws {
        for name in ["Sidesocket-Subscriptions", "sidesocket-events", "Sidesocket-", "Sidesocket-Users"] {
            #expect(try isBadReply("HTTP/1.1 204 x", "\(name): x"))
        }
        _ = try read("HTTP/1.1 204 x", "Sidesocket: x", "X-Sidesocket-User: x", "Sidesocketx-User: y")
    }

    @Test("Channels are lists by comma, over several fields too; one bad name spoils the answer")
    func channels() throws {
        let reply = try read(
            "HTTP/1.1 200 x",
            "Sidesocket-Subscribe: a , b:1,",
            "sidesocket-subscribe: c",
            "Sidesocket-Unsubscribe: d",
            "Sidesocket-Publish: e",
            "Sidesocket-Exclude: self",
            text: "hello"
        )
        #expect(reply.subscribe.map(\.text) == ["a", "b:1", "c"] && reply.unsubscribe.map(\.text) == ["d"])
        #expect(reply.publish.map(\.text) == ["e"] && reply.excludesSelf && reply.output == text("hello"))
        for name in ["Subscribe", "Unsubscribe", "Publish"] {
            #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-\(name): a, b c"))
            #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-\(name): \(String(repeating: "a", count: 201))"))
        }
        #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-Exclude: 42"))
        let commands = "Content-Type: application/vnd.sidesocket+json"
        #expect(try isBadReply("HTTP/1.1 200 x", commands, "Sidesocket-Publish: a", body: Array("[]".utf8)))
        // Of which message of a batch would it be?
        #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-Publish: a", batchOf: 2))
        #expect(
            try isBadReply("HTTP/1.1 200 x", commands, "Sidesocket-Publish: a", body: Array("[[],[]]".utf8), batchOf: 2)
        )
    }

    @Test("A name in quotes is one name, whatever it was built from (RFC 9651 §3.3.3)")
    func quotedChannels() throws {
        let reply = try read(
            "HTTP/1.1 204 x",
            #"Sidesocket-Subscribe: "a" , b;x ,, "c\\d","e;f""#,
            #"Sidesocket-Unsubscribe: "g""#
        )
        #expect(reply.subscribe.map(\.text) == ["a", "b;x", #"c\d"#, "e;f"])
        #expect(reply.unsubscribe.map(\.text) == ["g"])
        for list in [
            #""room:a,b""#, #""a"#, #""""#, #""a" b"#, #""a"b"#, #""a\b""#, #""a\""#, #"a"b""#, #""a\"b""#, #""a b""#,
            #"""#,
            #""a";x"#, #""é""#,
        ] {
            #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-Subscribe: \(list)"), "\(list)")
        }
    }

    @Test("A broadcast is published besides what goes to the client")
    func broadcasts() throws {
        let reply = try read(
            "HTTP/1.1 200 x",
            #"Sidesocket-Broadcast: orders {"id":7}"#,
            #"sidesocket-broadcast: "room:1";enc=percent gr%C3%BC%C3%9Fe"#,
            text: "hello"
        )
        #expect(reply.output == text("hello"))
        #expect(
            reply.publications == [
                Publication(
                    channel: try #require(ChannelName("orders")),
                    format: .text,
                    payload: ByteBuffer(string: #"{"id":7}"#)
                ),
                Publication(
                    channel: try #require(ChannelName("room:1")),
                    format: .text,
                    payload: ByteBuffer(string: "grüße")
                ),
            ]
        )
        #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-Broadcast: orders"))
    }

    @Test("More channels than allowed are noticed at any point of an answer")
    func channelLimit() throws {
        let commands = #"[{"subscribe":"c"},{"unsubscribe":"a"},{"subscribe":"d"}]"#
        let reply = try read(
            "HTTP/1.1 200 x",
            "Content-Type: application/vnd.sidesocket+json",
            "Sidesocket-Subscribe: b",
            text: commands
        )
        let now = Set([try #require(ChannelName("a"))])
        #expect(reply.changesChannels && reply.channels(after: now, limit: 2) == nil)
        #expect(reply.channels(after: now, limit: 3)?.map(\.text).sorted() == ["b", "c", "d"])
    }

    @Test("Sidesocket-Close is a code, and perhaps a reason")
    func close() throws {
        for (value, code, reason) in [
            ("4000", 4000, ""), ("4000 bye", 4000, "bye"), ("1000 a b  c", 1000, "a b  c"), ("4999 é", 4999, "é"),
            ("3000 1001", 3000, "1001"),
        ] as [(String, UInt16, String)] {
            let request = try read("HTTP/1.1 204 x", "Sidesocket-Close: \(value)").close
            #expect(request?.code.rawValue == code && request?.reason == reason, "\(value)")
        }
    }

    @Test(
        "A close that may not be sent is a final failure (abuse case 31)",
        arguments: [
            "", "0", "999", "1004", "1005", "1006", "1015", "1016", "2999", "5000", "70000", "-1", "-400", "+400",
            "+4000", "04000", "0x400", "1e3", "4000.0", "4000,bye", "4000\tbye", "bye", "bye 4000", "４０００",
            "9999999999999999999",
        ]
    )
    func badClose(value: String) throws {
        #expect(try isBadReply("HTTP/1.1 204 x", "Sidesocket-Close: \(value)"))
        #expect(try isBadReply("HTTP/1.1 200 x", "Sidesocket-Close: \(value)", body: [0x61]))
    }

    @Test("The codes that may be sent are those of RFC 6455 for servers")
    func closeCodes() {
        let allowed = (-10...70_000).filter { CloseRequest(code: $0, reason: "") != nil }
        #expect(allowed == Array(1000...1003) + Array(1007...1014) + Array(3000...4999))
        for code in [Int.min, Int.max, 65_536 + 1000] { #expect(CloseRequest(code: code, reason: "") == nil) }
    }

    @Test("A reason is cut between two characters to what a Close frame carries (abuse case 31)")
    func longReasons() throws {
        for count in [122, 123, 124, 200, 100_000] {
            let request = CloseRequest(code: 4000, reason: String(repeating: "a", count: count))
            #expect(request?.reason == String(repeating: "a", count: min(count, 123)))
        }
        for (character, kept) in [("é", 61), ("€", 41), ("😀", 30)] {
            let request = CloseRequest(code: 4000, reason: String(repeating: character, count: 200))
            #expect(request?.reason == String(repeating: character, count: kept))
        }
        for (start, end, whole) in [(121, "é", true), (122, "é", false), (121, "€", false), (120, "€", true)] {
            let start = String(repeating: "a", count: start)
            #expect(CloseRequest(code: 4000, reason: start + end)?.reason == (whole ? start + end : start), "\(end)")
        }
        let header = try read("HTTP/1.1 204 x", "Sidesocket-Close: 4000 \(String(repeating: "b", count: 200))").close
        #expect(header?.reason == String(repeating: "b", count: 123))
    }

    @Test("Headers of a command list are read beside the commands")
    func commandsAndHeaders() throws {
        let reply = try read(
            "HTTP/1.1 200 OK",
            "Content-Type: Application/vnd.Sidesocket+JSON; charset=utf-8",
            "Sidesocket-User: 42",
            "Sidesocket-Close: 4000",
            text: #"[{"send":{"text":"a"}}]"#
        )
        #expect(reply.output == .commands([.send(.text, ByteBuffer(string: "a"))]))
        #expect(reply.user == "42" && reply.close?.code.rawValue == 4000)
    }
}
