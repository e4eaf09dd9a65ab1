import NIOCore
import Testing

@testable import SidecarCore

@Suite("Frames to clients")
struct ServerFrameTests {
    private let room: ChannelName
    private let other: ChannelName
    private let position = ChannelPosition(
        offset: 17,
        epoch: ChannelEpoch(723),
        id: MessageID(0xAB),
        mark: .process(epoch: 1, sequence: 2)
    )
    private let packedPosition: [Packed.Member] = [
        member("offset", .unsigned(17)), member("epoch", .text("k3")), member("id", .text("00000000000000ab")),
    ]

    init() throws {
        room = try #require(ChannelName("room:1"))
        other = try #require(ChannelName(#"ro\om"#))
    }

    /// Writes a frame in both encodings.
    private func expect(
        _ frame: ServerFrame,
        _ json: String,
        _ members: [Packed.Member],
        _ location: SourceLocation = #_sourceLocation
    ) throws {
        #expect(String(buffer: ProtocolEncoding.json.write(frame)) == json, sourceLocation: location)
        let packed = try Packed(ProtocolEncoding.messagePack.write(frame))
        #expect(packed == .map(members), sourceLocation: location)
    }

    // MARK: The frames

    @Test("The welcome has all channels, with their positions where they are known")
    func welcome() throws {
        let welcome = Welcome(
            session: "s1",
            isResumed: false,
            resume: nil,
            ping: 25_000,
            maxBytes: 65_536,
            seq: 0,
            user: #"a"é"#,
            channels: [(room, .position(position, isRecovered: nil)), (other, .pending)]
        )
        let channels =
            #"{"room:1":{"offset":17,"epoch":"k3","id":"00000000000000ab"},"ro\\om":{"pending":true}}"#
        try expect(
            .welcome(welcome),
            #"{"type":"$welcome","session":"s1","resumed":false,"ping":25000,"maxBytes":65536,"seq":0,"#
                + #""user":"a\"é","channels":"# + channels + #","features":[]}"#,
            [
                member("type", .text("$welcome")), member("session", .text("s1")), member("resumed", .bool(false)),
                member("ping", .unsigned(25_000)), member("maxBytes", .unsigned(65_536)), member("seq", .unsigned(0)),
                member("user", .text(#"a"é"#)),
                member(
                    "channels",
                    .map([
                        member("room:1", .map(packedPosition)),
                        member(#"ro\om"#, .map([member("pending", .bool(true))])),
                    ])
                ),
                member("features", .array([])),
            ]
        )
    }

    @Test("The welcome of a client without a user, pings and channels has none of them")
    func smallWelcome() throws {
        let welcome = Welcome(
            session: "s",
            isResumed: false,
            resume: nil,
            ping: nil,
            maxBytes: .max,
            seq: .max,
            user: nil,
            channels: []
        )
        try expect(
            .welcome(welcome),
            #"{"type":"$welcome","session":"s","resumed":false,"maxBytes":9223372036854775807,"#
                + #""seq":18446744073709551615,"channels":{},"features":[]}"#,
            [
                member("type", .text("$welcome")), member("session", .text("s")), member("resumed", .bool(false)),
                member("maxBytes", .unsigned(9_223_372_036_854_775_807)), member("seq", .unsigned(.max)),
                member("channels", .map([])), member("features", .array([])),
            ]
        )
    }

    @Test("The welcome of a returning client says what is recovered, and how to return again")
    func welcomeBack() throws {
        let token = try #require(ResumeToken(String(repeating: "t", count: 43)))
        let welcome = Welcome(
            session: "s",
            isResumed: true,
            resume: Welcome.Resume(token: token, window: 120_000),
            ping: nil,
            maxBytes: 1,
            seq: 12,
            user: nil,
            channels: [
                (room, .position(position, isRecovered: true)), (other, .position(position, isRecovered: false)),
            ]
        )
        let place = #""offset":17,"epoch":"k3","id":"00000000000000ab","recovered""#
        try expect(
            .welcome(welcome),
            #"{"type":"$welcome","session":"s","resumed":true,"resume":"\#(token.text)","ttl":120000,"#
                + #""maxBytes":1,"seq":12,"channels":{"room:1":{\#(place):true},"#
                + #""ro\\om":{\#(place):false}},"features":[]}"#,
            [
                member("type", .text("$welcome")), member("session", .text("s")), member("resumed", .bool(true)),
                member("resume", .text(token.text)), member("ttl", .unsigned(120_000)),
                member("maxBytes", .unsigned(1)), member("seq", .unsigned(12)),
                member(
                    "channels",
                    .map([
                        member("room:1", .map(packedPosition + [member("recovered", .bool(true))])),
                        member(#"ro\om"#, .map(packedPosition + [member("recovered", .bool(false))])),
                    ])
                ),
                member("features", .array([])),
            ]
        )
    }

    @Test("A welcome may have any number of channels", arguments: [0, 1, 14, 15, 16, 17, 300])
    func manyChannels(count: Int) throws {
        var channels: [(ChannelName, Welcome.Place)] = []
        for index in 0..<count {
            let name = try #require(ChannelName("c\(index)"))
            channels.append((name, .pending))
        }
        let welcome = Welcome(
            session: "s",
            isResumed: false,
            resume: nil,
            ping: nil,
            maxBytes: 1,
            seq: 0,
            user: nil,
            channels: channels
        )
        let bytes = Array(ProtocolEncoding.messagePack.write(.welcome(welcome)).readableBytesView)
        guard case .map(let members) = try Packed(ByteBuffer(bytes: bytes)) else {
            Issue.record("no map")
            return
        }
        let expected = (0..<count).map { member("c\($0)", .map([member("pending", .bool(true))])) }
        let value = members.first(where: { $0.name == .text("channels") })?.value
        #expect(value == .map(expected))
        let name: [UInt8] = [0xA8] + Array("channels".utf8)
        let start = try #require(bytes.indices.first(where: { bytes[$0...].starts(with: name) }))
        let head = bytes[(start + name.count)...]
        if count < 16 {
            #expect(head.first == 0x80 + UInt8(count))
        } else {
            #expect(head.starts(with: [0xDE, UInt8(count / 256), UInt8(count % 256)]))
        }
        let json = String(buffer: ProtocolEncoding.json.write(.welcome(welcome)))
        let inJSON = (0..<count).map { #""c\#($0)":{"pending":true}"# }.joined(separator: ",")
        #expect(json.contains(#""channels":{\#(inJSON)},"features""#))
    }

    @Test("A message of the app is a message, a reply, or what the app calls it")
    func messages() throws {
        func message(_ type: String?, to id: String?) -> ServerFrame {
            .message(
                SentMessage(
                    type: type,
                    answers: id,
                    seq: 13,
                    time: 1_700_000_000_000,
                    format: .json,
                    payload: ByteBuffer(string: "true")
                )
            )
        }
        let rest = #""seq":13,"ts":1700000000000,"payload":true}"#
        let packedRest: [Packed.Member] = [
            member("seq", .unsigned(13)), member("ts", .unsigned(1_700_000_000_000)), member("payload", .bool(true)),
        ]
        let answered = member("re", .text(#"a"1"#))
        try expect(message(nil, to: nil), #"{"type":"message",\#(rest)"#, [type("message")] + packedRest)
        try expect(
            message(nil, to: #"a"1"#),
            #"{"type":"reply","re":"a\"1",\#(rest)"#,
            [type("reply"), answered] + packedRest
        )
        try expect(
            message("price", to: #"a"1"#),
            #"{"type":"price","re":"a\"1",\#(rest)"#,
            [type("price"), answered] + packedRest
        )
        try expect(message("price", to: nil), #"{"type":"price",\#(rest)"#, [type("price")] + packedRest)
    }

    @Test("An acknowledgement says when it is a repeat")
    func acknowledgements() throws {
        let id = member("re", .text("a1"))
        try expect(.acknowledged("a1", isRepeat: false), #"{"type":"$ack","re":"a1"}"#, [type("$ack"), id])
        try expect(
            .acknowledged("a1", isRepeat: true),
            #"{"type":"$ack","re":"a1","dup":true}"#,
            [type("$ack"), id, member("dup", .bool(true))]
        )
    }

    @Test("What happens to a channel is told with its position")
    func channels() throws {
        let channel = member("channel", .text("room:1"))
        let positionOfJSON = #""offset":17,"epoch":"k3","id":"00000000000000ab"}"#
        try expect(
            .joined(room, position),
            #"{"type":"$joined","channel":"room:1",\#(positionOfJSON)"#,
            [type("$joined"), channel] + packedPosition
        )
        for isRecovered in [true, false] {
            try expect(
                .joined(room, position, isRecovered: isRecovered),
                #"{"type":"$joined","channel":"room:1",\#(positionOfJSON.dropLast()),"recovered":\#(isRecovered)}"#,
                [type("$joined"), channel] + packedPosition + [member("recovered", .bool(isRecovered))]
            )
        }
        try expect(
            .gap(room, position),
            #"{"type":"$gap","channel":"room:1",\#(positionOfJSON)"#,
            [type("$gap"), channel] + packedPosition
        )
        try expect(.left(room), #"{"type":"$left","channel":"room:1"}"#, [type("$left"), channel])
    }

    @Test("The last frame says whether and when to come back")
    func endings() throws {
        try expect(.pong, #"{"type":"$pong"}"#, [type("$pong")])
        try expect(.live, #"{"type":"$live"}"#, [type("$live")])
        try expect(
            .bye(.serviceRestart, reconnectAfter: 3_500),
            #"{"type":"$bye","code":1012,"reconnect":true,"after":3500}"#,
            [
                type("$bye"), member("code", .unsigned(1012)), member("reconnect", .bool(true)),
                member("after", .unsigned(3_500)),
            ]
        )
        try expect(
            .bye(.unauthorized, reconnectAfter: 0),
            #"{"type":"$bye","code":4401,"reconnect":true,"after":0}"#,
            [
                type("$bye"), member("code", .unsigned(4401)), member("reconnect", .bool(true)),
                member("after", .unsigned(0)),
            ]
        )
        try expect(
            .bye(.normal, reconnectAfter: nil),
            #"{"type":"$bye","code":1000,"reconnect":false}"#,
            [type("$bye"), member("code", .unsigned(1000)), member("reconnect", .bool(false))]
        )
    }

    @Test("A publication has its place, and the type that it was published with")
    func publications() throws {
        let payload = ByteBuffer(string: "[1]")
        func publication(_ encoding: ProtocolEncoding, _ event: String?) -> ByteBuffer {
            encoding.publication(.json, payload, event: event, at: position, of: room, time: 5)
        }
        for (event, name) in [(nil, "message"), ("price", "price")] as [(String?, String)] {
            let rest = #""id":"00000000000000ab","ts":5,"channel":"room:1","offset":17,"payload":[1]}"#
            #expect(String(buffer: publication(.json, event)) == #"{"type":"\#(name)",\#(rest)"#)
            let members: [Packed.Member] = [
                type(name), member("id", .text("00000000000000ab")), member("ts", .unsigned(5)),
                member("channel", .text("room:1")), member("offset", .unsigned(17)),
                member("payload", .array([.unsigned(1)])),
            ]
            let packed = try Packed(publication(.messagePack, event))
            #expect(packed == .map(members))
        }
    }

    // MARK: Errors

    @Test("An error of ours has its code, and the id where it is about a message")
    func errors() throws {
        let codes: [ProtocolError.Code: String] = [
            .badFrame: "bad_frame", .rejected: "rejected", .failed: "failed", .unavailable: "unavailable",
            .unauthorized: "unauthorized", .inProgress: "in_progress", .forbidden: "forbidden",
            .rateLimited: "rate_limited",
        ]
        for code in ProtocolError.Code.allCases {
            let name = try #require(codes[code], "a code that clients have not been told of")
            let mayRetry = code == .unavailable
            try expect(
                .error(ProtocolError(code, about: nil, "Say \"no\".")),
                #"{"type":"$error","code":"\#(name)","message":"Say \"no\".","retry":\#(mayRetry)}"#,
                [
                    type("$error"), member("code", .text(name)), member("message", .text("Say \"no\".")),
                    member("retry", .bool(mayRetry)),
                ]
            )
        }
        try expect(
            .error(ProtocolError(.forbidden, about: "a1", "No.")),
            #"{"type":"$error","re":"a1","code":"forbidden","message":"No.","retry":false}"#,
            [
                type("$error"), member("re", .text("a1")), member("code", .text("forbidden")),
                member("message", .text("No.")), member("retry", .bool(false)),
            ]
        )
    }

    @Test("What the app says when it refuses a message goes to the client")
    func refusals() throws {
        let content = ProtocolError.Content(.json, ByteBuffer(string: #"{"why":1}"#))
        try expect(
            .error(ProtocolError(DeliveryFailure.status(422), about: "a1", content: content)),
            #"{"type":"$error","re":"a1","code":"rejected","status":422,"#
                + #""message":"The application refused the message.","retry":false,"payload":{"why":1}}"#,
            [
                type("$error"), member("re", .text("a1")), member("code", .text("rejected")),
                member("status", .unsigned(422)), member("message", .text("The application refused the message.")),
                member("retry", .bool(false)), member("payload", .map([member("why", .unsigned(1))])),
            ]
        )
    }

    @Test("A failure of the app has the code that belongs to it, and says nothing of the app's own words")
    func failures() {
        let content = ProtocolError.Content(.text, ByteBuffer(string: "stack trace"))
        func told(_ failure: DeliveryFailure) -> ProtocolError {
            ProtocolError(failure, about: "a1", content: content)
        }
        let transient: [DeliveryFailure] = [
            .status(429), .status(502), .status(503), .status(504), .timeout, .connect("x"), .connectionLost,
        ]
        for failure in transient {
            let error = told(failure)
            #expect(error.code == .unavailable && error.mayRetry, "\(failure)")
            #expect(error.content == nil && error.status == nil && error.id == "a1", "\(failure)")
        }
        let lasting: [DeliveryFailure] = [.status(500), .status(399), .status(301), .badReply("x")]
        for failure in lasting {
            let error = told(failure)
            #expect(error.code == .failed && !error.mayRetry, "\(failure)")
            #expect(error.content == nil && error.status == nil && error.id == "a1", "\(failure)")
        }
        for status in [400, 404, 499] {
            let error = told(.status(status))
            #expect(error.code == .rejected && !error.mayRetry, "\(status)")
            #expect(error.content == content && error.status == status && error.id == "a1", "\(status)")
        }
    }

    @Test("A compacted error is the same error")
    func compacted() {
        var large = ByteBuffer(repeating: 1, count: 10_000)
        large.writeString("why")
        large.moveReaderIndex(forwardBy: 10_000)
        let error = ProtocolError(DeliveryFailure.status(400), about: "a", content: ProtocolError.Content(.text, large))
        let compacted = error.compacted()
        #expect(compacted == error)
        #expect((compacted.content?.payload.storageCapacity ?? .max) < 10_000)
    }

    // MARK: Payloads in JSON

    @Test(
        "JSON is embedded as it is, without white space around it and without a byte order mark",
        arguments: [
            ("{\"a\": 1}", "{\"a\": 1}"), (" \r\n{\"a\": 1}\t ", "{\"a\": 1}"), ("\u{FEFF}[1]", "[1]"),
            ("\u{FEFF} [1] ", "[1]"), ("1", "1"), ("-0.5e+3", "-0.5e+3"), ("null", "null"), ("\"x\"", "\"x\""),
            ("\"\\ud800\"", "\"\\ud800\""), ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("\"é😀\u{7F}\"", "\"é😀\u{7F}\""),
        ]
    )
    func embedded(body: String, expected: String) throws {
        #expect(try jsonPayload(.json, Array(body.utf8)) == expected)
    }

    @Test(
        "What only pretends to be JSON is a string, so that it cannot break the frame",
        arguments: [
            ("", "\"\""), (" ", "\" \""), ("{", "\"{\""), ("1 2", "\"1 2\""), ("NaN", "\"NaN\""), ("01", "\"01\""),
            ("{\"a\":1}}", "\"{\\\"a\\\":1}}\""), ("1,\"seq\":99", "\"1,\\\"seq\\\":99\""), ("tru", "\"tru\""),
            ("null}", "\"null}\""), ("\"a", "\"\\\"a\""), ("\"a\n\"", "\"\\\"a\\u000a\\\"\""),
            ("[1]\u{FEFF}", "\"[1]\u{FEFF}\""), ("\u{FEFF}x", "\"\u{FEFF}x\""),
            ("\u{FEFF}\u{FEFF}1", "\"\u{FEFF}\u{FEFF}1\""),
        ]
    )
    func quoted(body: String, expected: String) throws {
        #expect(try jsonPayload(.json, Array(body.utf8)) == expected)
    }

    @Test("JSON is embedded up to a depth of 512", arguments: 511...513)
    func depth(depth: Int) throws {
        let body = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        #expect(try jsonPayload(.json, Array(body.utf8)) == (depth <= 512 ? body : "\"\(body)\""))
        let packed = try packedPayload(.json, Array(body.utf8))
        if depth > 512 {
            #expect(packed == .text(body))
        } else {
            #expect(packed.depth == depth)
        }
        let arrays = [UInt8](repeating: 0x91, count: depth)
        let nested = Array([arrays, [0xC0]].joined())
        let asPacked = try packedPayload(.messagePack, nested)
        if depth > 512 {
            #expect(asPacked == .bytes(nested))
        } else {
            #expect(asPacked.depth == depth)
        }
    }

    @Test("Text is a string, and bytes are Base64")
    func otherKinds() throws {
        #expect(try jsonPayload(.text, Array("{\"a\":1}\n".utf8)) == "\"{\\\"a\\\":1}\\u000a\"")
        #expect(try jsonPayload(.text, []) == "\"\"")
        for format in [MessageFormat.binary, .messagePack] {
            #expect(try jsonPayload(format, []) == #"{"base64":""}"#)
            #expect(try jsonPayload(format, [0x00]) == #"{"base64":"AA=="}"#)
            #expect(try jsonPayload(format, [0xFB, 0xFF, 0xBF]) == #"{"base64":"+/+/"}"#)
        }
    }

    // MARK: Payloads in MessagePack

    @Test("Text is a string, and bytes are bytes")
    func packedKinds() throws {
        #expect(try packedPayload(.text, Array("{\"a\":1}".utf8)) == .text("{\"a\":1}"))
        #expect(try packedPayload(.text, []) == .text(""))
        #expect(try packedPayload(.binary, []) == .bytes([]))
        #expect(try packedPayload(.binary, [0x01, 0xC1]) == .bytes([0x01, 0xC1]))
    }

    @Test("One whole value of MessagePack is embedded byte for byte, anything else is bytes")
    func packedValues() throws {
        let whole: [[UInt8]] = [
            [0xC0], [0xCD, 0, 1], [0xD9, 1, 0x78], [0xDF, 0, 0, 0, 0], [0x92, 0x01, 0x90], [0xC4, 1, 0xFF],
            [0xD4, 5, 6], [0x81, 0xC0, 0xC0],
        ]
        for value in whole { #expect(try payloadBytes(.messagePack, .messagePack, value) == value) }
        let broken: [[UInt8]] = [
            [], [0xC1], [0x01, 0x02], [0x91], [0xC0, 0xC1], [0xA2, 0x78], [0xDD, 0xFF, 0xFF, 0xFF, 0xFF], [0x81, 0xC0],
        ]
        for value in broken { #expect(try packedPayload(.messagePack, value) == .bytes(value), "\(value)") }
    }

    @Test("JSON becomes what it says")
    func converted() throws {
        let samples: [(String, Packed)] = [
            ("null", .null), ("true", .bool(true)), ("false", .bool(false)), ("0", .unsigned(0)),
            ("-1", .negative(-1)), ("9223372036854775807", .unsigned(9_223_372_036_854_775_807)),
            ("-9223372036854775808", .negative(.min)), ("1.5", .double(1.5)), ("-0.25e2", .double(-25)),
            ("9223372036854775808", .unsigned(9_223_372_036_854_775_808)),
            ("18446744073709551616", .double(18_446_744_073_709_551_616)), ("\"\"", .text("")),
            ("\"\\ud83d\\ude00\\n\\u0000\\/\"", .text("😀\n\u{0}/")), (" [ ] ", .array([])),
            ("\u{FEFF}{ }", .map([])),
            ("[[],{},[0]]", .array([.array([]), .map([]), .array([.unsigned(0)])])),
            (
                "{\"a\":{\"b\":[1,{}]},\"\":null}",
                .map([
                    member("a", .map([member("b", .array([.unsigned(1), .map([])]))])), member("", .null),
                ])
            ),
        ]
        for (json, expected) in samples {
            let converted = try packedPayload(.json, Array(json.utf8))
            #expect(converted == expected, "\(json)")
        }
    }

    @Test("Arrays and objects of JSON keep their length", arguments: [0, 1, 15, 16, 17, 255, 256, 65_535, 65_536])
    func lengths(count: Int) throws {
        let array = "[" + Array(repeating: "1", count: count).joined(separator: ",") + "]"
        let expected = Array(repeating: Packed.unsigned(1), count: count)
        let converted = try packedPayload(.json, Array(array.utf8))
        #expect(converted == .array(expected))
        let object = "{" + Array(repeating: "\"a\":[]", count: count).joined(separator: ",") + "}"
        let members = Array(repeating: member("a", .array([])), count: count)
        let convertedObject = try packedPayload(.json, Array(object.utf8))
        #expect(convertedObject == .map(members))
    }

    @Test(
        "What is no JSON, or has no equivalent, is its text",
        arguments: [
            "", " ", "{", "[1,]", "[1", "{\"a\"}", "{\"a\":1,}", "{1:2}", "1 2", "[1]]", "NaN", "1e999", "[1,2,1e999]",
            "\"\\ud800\"", "{\"\\udc00\":1}", "[\"a\", \"\\ud800x\"]", "01", "[[[[[[\"deep\"",
            "{\"a\":[1,2,{\"b\":tru}]}",
        ]
    )
    func unconverted(body: String) throws {
        let packed = try packedPayload(.json, Array(body.utf8))
        #expect(packed == .text(body))
    }

    // MARK: The shortest forms of MessagePack

    @Test("Whole numbers have their shortest form")
    func integers() {
        let unsigned: [(UInt64, [UInt8])] = [
            (0, [0x00]), (127, [0x7F]), (128, [0xCC, 0x80]), (255, [0xCC, 0xFF]), (256, [0xCD, 1, 0]),
            (65_535, [0xCD, 0xFF, 0xFF]), (65_536, [0xCE, 0, 1, 0, 0]),
            (4_294_967_295, [0xCE, 0xFF, 0xFF, 0xFF, 0xFF]),
            (4_294_967_296, [0xCF, 0, 0, 0, 1, 0, 0, 0, 0]),
            (9_223_372_036_854_775_808, [0xCF, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (.max, [0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ]
        for (number, bytes) in unsigned {
            var buffer = ByteBuffer()
            buffer.writeMessagePack(number)
            #expect(Array(buffer.readableBytesView) == bytes, "\(number)")
            guard number <= UInt64(Int64.max) else { continue }
            var signed = ByteBuffer()
            signed.writeMessagePack(Int64(number))
            #expect(signed == buffer, "\(number)")
        }
        let negative: [(Int64, [UInt8])] = [
            (-1, [0xFF]), (-32, [0xE0]), (-33, [0xD0, 0xDF]), (-128, [0xD0, 0x80]), (-129, [0xD1, 0xFF, 0x7F]),
            (-32_768, [0xD1, 0x80, 0x00]), (-32_769, [0xD2, 0xFF, 0xFF, 0x7F, 0xFF]),
            (-2_147_483_648, [0xD2, 0x80, 0, 0, 0]),
            (-2_147_483_649, [0xD3, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]),
            (.min, [0xD3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ]
        for (number, bytes) in negative {
            var buffer = ByteBuffer()
            buffer.writeMessagePack(number)
            #expect(Array(buffer.readableBytesView) == bytes, "\(number)")
        }
    }

    @Test("Strings and bytes have the shortest head", arguments: [0, 31, 32, 255, 256, 65_535, 65_536])
    func heads(count: Int) throws {
        let high = UInt8(count / 256 % 256)
        let low = UInt8(count % 256)
        let textHead: [UInt8]
        let bytesHead: [UInt8]
        switch count {
        case ..<32:
            textHead = [0xA0 + low]
            bytesHead = [0xC4, low]
        case ..<256:
            textHead = [0xD9, low]
            bytesHead = [0xC4, low]
        case ..<65_536:
            textHead = [0xDA, high, low]
            bytesHead = [0xC5, high, low]
        default:
            textHead = [0xDB, 0, 1, 0, 0]
            bytesHead = [0xC6, 0, 1, 0, 0]
        }
        let content = [UInt8](repeating: 0x61, count: count)
        #expect(try payloadBytes(.messagePack, .text, content) == Array([textHead, content].joined()))
        #expect(try payloadBytes(.messagePack, .binary, content) == Array([bytesHead, content].joined()))
        var buffer = ByteBuffer()
        buffer.writeMessagePack(String(repeating: "a", count: count))
        #expect(Array(buffer.readableBytesView) == Array([textHead, content].joined()))
    }

    @Test("Arrays and maps have the shortest head")
    func containerHeads() {
        let heads: [(Int, [UInt8], [UInt8])] = [
            (0, [0x90], [0x80]), (15, [0x9F], [0x8F]), (16, [0xDC, 0, 16], [0xDE, 0, 16]),
            (65_535, [0xDC, 0xFF, 0xFF], [0xDE, 0xFF, 0xFF]), (65_536, [0xDD, 0, 1, 0, 0], [0xDF, 0, 1, 0, 0]),
        ]
        for (count, arrayHead, mapHead) in heads {
            var array = ByteBuffer()
            array.writeMessagePackArray(count: count)
            #expect(Array(array.readableBytesView) == arrayHead)
            var map = ByteBuffer()
            map.writeMessagePackMap(count: count)
            #expect(Array(map.readableBytesView) == mapHead)
        }
    }
}

// MARK: Payloads

private struct NoPayload: Error {}

/// A payload as it stands in a frame, whether it is a buffer of its own or a part of a larger one.
private func payloadBytes(_ encoding: ProtocolEncoding, _ format: MessageFormat, _ bytes: [UInt8]) throws -> [UInt8] {
    func frame(_ payload: ByteBuffer) -> [UInt8] {
        let message = SentMessage(type: "t", answers: nil, seq: 1, time: 2, format: format, payload: payload)
        return Array(encoding.write(.message(message)).readableBytesView)
    }
    let alone = frame(ByteBuffer(bytes: bytes))
    var larger = ByteBuffer(bytes: [0x5B, 0x22, 0xEF, 0xBB, 0xBF])
    larger.writeBytes(bytes)
    larger.writeBytes([0x5D, 0x22])
    guard var part = larger.getSlice(at: 1, length: 4 + bytes.count) else { throw NoPayload() }
    part.moveReaderIndex(forwardBy: 4)
    guard frame(part) == alone else { throw NoPayload() }
    let start: [UInt8]
    let end: [UInt8]
    switch encoding {
    case .json:
        start = Array(#"{"type":"t","seq":1,"ts":2,"payload":"#.utf8)
        end = [0x7D]
    case .messagePack:
        let pieces: [[UInt8]] = [
            [0x84, 0xA4], Array("type".utf8), [0xA1, 0x74, 0xA3], Array("seq".utf8), [0x01, 0xA2], Array("ts".utf8),
            [0x02, 0xA7], Array("payload".utf8),
        ]
        start = Array(pieces.joined())
        end = []
    }
    guard alone.starts(with: start), alone.count >= start.count + end.count, Array(alone.suffix(end.count)) == end
    else { throw NoPayload() }
    return Array(alone[start.count..<alone.count - end.count])
}

private func jsonPayload(_ format: MessageFormat, _ bytes: [UInt8]) throws -> String {
    String(decoding: try payloadBytes(.json, format, bytes), as: UTF8.self)
}

private func packedPayload(_ format: MessageFormat, _ bytes: [UInt8]) throws -> Packed {
    try Packed(ByteBuffer(bytes: try payloadBytes(.messagePack, format, bytes)))
}

// MARK: Reading MessagePack

/// A value of MessagePack, read by its specification and not by what is tested.
private enum Packed: Equatable {
    case null
    case bool(Bool)
    case unsigned(UInt64)
    case negative(Int64)
    case double(Double)
    case text(String)
    case bytes([UInt8])
    case array([Packed])
    case map([Member])

    struct Member: Equatable {
        let name: Packed
        let value: Packed
    }

    /// Reads exactly one value.
    init(_ buffer: ByteBuffer) throws {
        var reader = PackedReader(rest: Array(buffer.readableBytesView)[...])
        self = try reader.value()
        guard reader.rest.isEmpty else { throw PackedReader.Malformed() }
    }

    /// How many arrays and maps lie in one another.
    var depth: Int {
        switch self {
        case .array(let values): 1 + (values.map(\.depth).max() ?? 0)
        case .map(let members): 1 + (members.map(\.value.depth).max() ?? 0)
        default: 0
        }
    }
}

private func member(_ name: String, _ value: Packed) -> Packed.Member { Packed.Member(name: .text(name), value: value) }

private func type(_ name: String) -> Packed.Member { member("type", .text(name)) }

private struct PackedReader {
    struct Malformed: Error {}

    var rest: ArraySlice<UInt8>

    private mutating func take(_ count: Int) throws -> [UInt8] {
        guard count <= rest.count else { throw Malformed() }
        let taken = Array(rest.prefix(count))
        rest = rest.dropFirst(count)
        return taken
    }

    private mutating func number(_ count: Int) throws -> UInt64 {
        var number: UInt64 = 0
        for byte in try take(count) { number = number * 256 + UInt64(byte) }
        return number
    }

    private mutating func text(_ count: Int) throws -> Packed {
        guard let text = String(validating: try take(count), as: UTF8.self) else { throw Malformed() }
        return .text(text)
    }

    private mutating func array(_ count: Int) throws -> Packed {
        var values: [Packed] = []
        for _ in 0..<count { values.append(try value()) }
        return .array(values)
    }

    private mutating func map(_ count: Int) throws -> Packed {
        var members: [Packed.Member] = []
        for _ in 0..<count {
            let name = try value()
            members.append(Packed.Member(name: name, value: try value()))
        }
        return .map(members)
    }

    mutating func value() throws -> Packed {
        let head = try take(1)[0]
        switch head {
        case 0x00...0x7F: return .unsigned(UInt64(head))
        case 0xE0...0xFF: return .negative(Int64(Int8(bitPattern: head)))
        case 0x80...0x8F: return try map(Int(head) - 0x80)
        case 0x90...0x9F: return try array(Int(head) - 0x90)
        case 0xA0...0xBF: return try text(Int(head) - 0xA0)
        case 0xC0: return .null
        case 0xC2: return .bool(false)
        case 0xC3: return .bool(true)
        case 0xC4: return .bytes(try take(Int(try number(1))))
        case 0xC5: return .bytes(try take(Int(try number(2))))
        case 0xC6: return .bytes(try take(Int(try number(4))))
        case 0xCB: return .double(Double(bitPattern: try number(8)))
        case 0xCC: return .unsigned(try number(1))
        case 0xCD: return .unsigned(try number(2))
        case 0xCE: return .unsigned(try number(4))
        case 0xCF: return .unsigned(try number(8))
        case 0xD0: return .negative(Int64(Int8(truncatingIfNeeded: try number(1))))
        case 0xD1: return .negative(Int64(Int16(truncatingIfNeeded: try number(2))))
        case 0xD2: return .negative(Int64(Int32(truncatingIfNeeded: try number(4))))
        case 0xD3: return .negative(Int64(truncatingIfNeeded: try number(8)))
        case 0xD9: return try text(Int(try number(1)))
        case 0xDA: return try text(Int(try number(2)))
        case 0xDB: return try text(Int(try number(4)))
        case 0xDC: return try array(Int(try number(2)))
        case 0xDD: return try array(Int(try number(4)))
        case 0xDE: return try map(Int(try number(2)))
        case 0xDF: return try map(Int(try number(4)))
        default: throw Malformed()
        }
    }
}
