import NIOCore
import Testing

@testable import SidecarCore

/// What was made of a message.
private typealias Outcome = Result<ClientFrame, ClientFrameFault>

@Suite("Frames of clients")
struct ClientFrameTests {
    // MARK: What the frames say

    @Test("A message has its type and its id")
    func message() {
        let outcome = json(#"{"type":"post","id":"a1","payload":{"a":1}}"#)
        let label = MessageLabel(type: "post", id: "a1")
        #expect(outcome == Outcome.success(.message(label, .json, ByteBuffer(string: #"{"a":1}"#))))
        let packed = pack([("type", str("post")), ("id", str("a1")), ("payload", [0x91, 0x01])])
        #expect(packed == Outcome.success(.message(label, .messagePack, ByteBuffer(bytes: [0x91, 0x01]))))
    }

    @Test(
        "A payload of JSON is what stood in the frame, byte for byte",
        arguments: [
            "null", "true", "false", "0", "-1.50E+2", "123456789012345678901234567890", "\"\"", #""a\"b\u0000é😀""#,
            #""\ud800""#, "[]", "{}", "[ 1 ,\n2\t]", #"{"type":"x","id":"y","payload":{"type":1}}"#, #"{"a":1,"a":2}"#,
        ]
    )
    func payloadOfJSON(payload: String) {
        let label = MessageLabel(type: "post", id: nil)
        let expected = ByteBuffer(string: payload)
        for frame in [
            #"{"type":"post","payload":\#(payload)}"#,
            #"{"payload":\#(payload),"type":"post"}"#,
            " \t\r\n{ \"x\" : [\(payload)] , \"payload\" :\r\n \(payload)\t , \"type\" : \"post\" } \n",
            "\u{FEFF}{\"type\":\"post\",\"payload\":\(payload)}",
        ] {
            let outcome = json(frame)
            #expect(outcome == Outcome.success(.message(label, .json, expected)), "\(frame)")
        }
    }

    @Test(
        "A payload of MessagePack is what stood in the frame, byte for byte",
        arguments: [
            [0xC0], [0xC2], [0xC3], [0x00], [0x7F], [0xE0], [0xA0], [0xA1, 0x78], [0xD9, 0x01, 0xFF], [0x90], [0x80],
            [0xCA, 0, 0, 0, 0], [0xCB, 1, 2, 3, 4, 5, 6, 7, 8], [0xCC, 1], [0xCD, 1, 2], [0xCE, 1, 2, 3, 4],
            [0xCF, 1, 2, 3, 4, 5, 6, 7, 8], [0xD0, 1], [0xD1, 1, 2], [0xD2, 1, 2, 3, 4],
            [0xD3, 1, 2, 3, 4, 5, 6, 7, 8], [0xD4, 1, 2], [0xD5, 1, 2, 3], [0xD6, 1, 2, 3, 4, 5],
            [0xD7, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0xC7, 2, 9, 8, 7], [0xC7, 0, 9], [0xC8, 0, 1, 9, 8],
            [0xC9, 0, 0, 0, 1, 9, 8], [0xDA, 0, 1, 0x78], [0xDB, 0, 0, 0, 1, 0x78], [0xDC, 0, 1, 0xC0],
            [0xDD, 0, 0, 0, 1, 0xC0], [0xDE, 0, 1, 0xC0, 0xC0], [0xDF, 0, 0, 0, 1, 0xC0, 0xC0],
            [0x82, 0xA1, 0x78, 0x92, 0x01, 0x90, 0x05, 0x81, 0xC0, 0xC4, 0x01, 0x00],
        ] as [[UInt8]]
    )
    func payloadOfMessagePack(payload: [UInt8]) {
        let expected = Outcome.success(
            .message(MessageLabel(type: "post", id: nil), .messagePack, ByteBuffer(bytes: payload))
        )
        #expect(pack([("type", str("post")), ("payload", payload)]) == expected)
        #expect(pack([("payload", payload), ("x", payload), ("type", str("post"))]) == expected)
    }

    @Test("An extension of 16 bytes is a payload too")
    func longExtension() {
        let payload: [UInt8] = [0xD8, 5] + [UInt8](repeating: 7, count: 16)
        let expected = Outcome.success(
            .message(MessageLabel(type: "post", id: nil), .messagePack, ByteBuffer(bytes: payload))
        )
        #expect(pack([("type", str("post")), ("payload", payload)]) == expected)
        #expect(pack([("type", str("post")), ("payload", Array(payload.dropLast()))]) == notAMap)
    }

    @Test("Bytes in MessagePack are a binary payload without their head")
    func binaryPayloads() {
        let heads: [[UInt8]] = [[0xC4, 3], [0xC5, 0, 3], [0xC6, 0, 0, 0, 3]]
        for head in heads {
            let outcome = pack([("type", str("post")), ("payload", head + [0xC1, 0x00, 0xFF])])
            let payload = ByteBuffer(bytes: [0xC1, 0x00, 0xFF])
            let expected = Outcome.success(.message(MessageLabel(type: "post", id: nil), .binary, payload))
            #expect(outcome == expected)
        }
        let empty = pack([("type", str("post")), ("payload", [0xC4, 0])])
        #expect(empty == Outcome.success(.message(MessageLabel(type: "post", id: nil), .binary, ByteBuffer())))
    }

    @Test("Without a payload it is null, and an id that is null is none")
    func missing() {
        let label = MessageLabel(type: "post", id: nil)
        let null = Outcome.success(.message(label, .json, ByteBuffer(string: "null")))
        #expect(json(#"{"type":"post"}"#) == null)
        #expect(json(#"{"type":"post","id":null,"payload":null}"#) == null)
        let packedNull = Outcome.success(.message(label, .messagePack, ByteBuffer(bytes: [0xC0])))
        #expect(pack([("type", str("post"))]) == packedNull)
        #expect(pack([("type", str("post")), ("id", [0xC0]), ("payload", [0xC0])]) == packedNull)
    }

    @Test("An acknowledgement has its number", arguments: ProtocolEncoding.allCases)
    func acknowledgement(encoding: ProtocolEncoding) {
        let outcome = read(encoding, [("type", .text("$ack")), ("seq", .number(14)), ("payload", .number(1))])
        #expect(outcome == Outcome.success(.acknowledge(14)))
    }

    @Test("Signs of life need nothing else", arguments: ProtocolEncoding.allCases)
    func signsOfLife(encoding: ProtocolEncoding) {
        #expect(read(encoding, [("type", .text("$ping"))]) == Outcome.success(.ping))
        #expect(read(encoding, [("type", .text("$pong")), ("id", .text("a"))]) == Outcome.success(.pong))
    }

    @Test("A token comes with an id or without", arguments: ProtocolEncoding.allCases)
    func token(encoding: ProtocolEncoding) {
        let with = read(encoding, [("type", .text("$token")), ("token", .text("a.b.c")), ("id", .text("t1"))])
        #expect(with == Outcome.success(.token("a.b.c", id: "t1")))
        let without = read(encoding, [("type", .text("$token")), ("token", .text(""))])
        #expect(without == Outcome.success(.token("", id: nil)))
    }

    @Test("A client event has a channel and a payload")
    func clientEvent() throws {
        let room = try #require(ChannelName("room:1"))
        let text = #"{"type":"client-typing","channel":"room:1","payload":[ ],"id":"e"}"#
        let event = ClientEvent(
            type: "client-typing",
            id: "e",
            channel: room,
            format: .json,
            payload: ByteBuffer(string: "[ ]")
        )
        #expect(json(text) == Outcome.success(.clientEvent(event)))
        let binary = ClientEvent(
            type: "client-",
            id: nil,
            channel: room,
            format: .binary,
            payload: ByteBuffer(bytes: [1, 2])
        )
        let packed = pack([("type", str("client-")), ("channel", str("room:1")), ("payload", [0xC4, 2, 1, 2])])
        #expect(packed == Outcome.success(.clientEvent(binary)))
        let silent = pack([("channel", str("room:1")), ("type", str("client-"))])
        let null = ClientEvent(
            type: "client-",
            id: nil,
            channel: room,
            format: .messagePack,
            payload: ByteBuffer(bytes: [0xC0])
        )
        #expect(silent == Outcome.success(.clientEvent(null)))
    }

    @Test("A returning client says what it has, and positions of what is no channel are left out")
    func resume() throws {
        let room = try #require(ChannelName("room:1"))
        let position = ResumeRequest.Position(offset: 17, epoch: ChannelEpoch(723), id: MessageID(0xAB))
        let expected = Outcome.success(
            .resume(ResumeRequest(seq: 12, channels: [room: position], session: "s1"))
        )
        let places =
            #"{"room:1":{"x":[1],"id":"00000000000000ab","epoch":"k3","offset":17},"#
            + #""a b":{"offset":0,"epoch":"0","id":"0000000000000000"}}"#
        #expect(json(#"{"type":"$resume","seq":12,"session":"s1","channels":\#(places)}"#) == expected)
        let zero = packed([("offset", [0x00]), ("epoch", str("0")), ("id", str("0000000000000000"))])
        let known = packed([
            ("x", [0x91, 0x01]), ("id", str("00000000000000ab")), ("epoch", str("k3")), ("offset", [0xCC, 0x11]),
        ])
        let channels = packed([("room:1", known), ("a b", zero)])
        let members: [(String, [UInt8])] = [
            ("type", str("$resume")), ("seq", [0x0C]), ("session", str("s1")), ("channels", channels),
        ]
        #expect(pack(members) == expected)
    }

    @Test("A returning client may have nothing", arguments: ProtocolEncoding.allCases)
    func emptyResume(encoding: ProtocolEncoding) {
        let nothing = Outcome.success(.resume(ResumeRequest(seq: 0, channels: [:], session: nil)))
        #expect(read(encoding, [("type", .text("$resume"))]) == nothing)
        let text = read(encoding, [("type", .text("$resume")), ("seq", .text("1")), ("id", .text("q"))])
        #expect(text == badFrame("q", "seq must be a whole number from 0 to 2^53"))
        let number = read(encoding, [("type", .text("$resume")), ("session", .number(1))])
        #expect(number == badFrame(nil, "session must be a string"))
    }

    @Test(
        "Positions are whole",
        arguments: [
            "1", "[]", "null", "\"x\"", #"{"a":1}"#, #"{"a":{}}"#, #"{"a":{"offset":1,"epoch":"k3"}}"#,
            #"{"a":{"offset":1,"id":"00000000000000ab"}}"#, #"{"a":{"epoch":"k3","id":"00000000000000ab"}}"#,
            #"{"a":{"offset":-1,"epoch":"k3","id":"00000000000000ab"}}"#,
            #"{"a":{"offset":1.5,"epoch":"k3","id":"00000000000000ab"}}"#,
            #"{"a":{"offset":"1","epoch":"k3","id":"00000000000000ab"}}"#,
            #"{"a":{"offset":1,"epoch":"","id":"00000000000000ab"}}"#,
            #"{"a":{"offset":1,"epoch":3,"id":"00000000000000ab"}}"#,
            #"{"a":{"offset":1,"epoch":"k3","id":"ab"}}"#, #"{"a":{"offset":1,"epoch":"k3","id":null}}"#,
        ]
    )
    func badPositions(channels: String) {
        let outcome = json(#"{"type":"$resume","id":"q","channels":\#(channels)}"#)
        let message = "channels must be an object whose members have an offset, an epoch and an id each"
        #expect(outcome == badFrame("q", message))
    }

    @Test("A frame knows the id to which its answer refers")
    func idsOfFrames() {
        func id(_ text: String) -> String? {
            guard case .success(let frame) = json(text) else { return "no frame" }
            return frame.id
        }
        #expect(id(#"{"type":"post","id":"a"}"#) == "a")
        #expect(id(#"{"type":"$token","token":"x","id":"b"}"#) == "b")
        #expect(id(#"{"type":"client-x","channel":"c","id":"d"}"#) == "d")
        for type in [#""$ping""#, #""$pong""#, #""$resume""#, #""$ack","seq":1"#] {
            #expect(id(#"{"type":\#(type),"id":"e"}"#) == nil, "\(type)")
        }
        #expect(id(#"{"type":"post"}"#) == nil)
    }

    @Test("Names and values of JSON are read with their escapes")
    func escapes() {
        let outcome = json(#"{"\u0074ype":"p\u006fst","\u0069d":"\u0061\"\\\/"}"#)
        let label = MessageLabel(type: "post", id: #"a"\/"#)
        #expect(outcome == Outcome.success(.message(label, .json, ByteBuffer(string: "null"))))
    }

    @Test("Strings of MessagePack may have heads that are longer than needed")
    func longHeads() {
        let heads: [[UInt8]] = [[0xD9, 4], [0xDA, 0, 4], [0xDB, 0, 0, 0, 4]]
        for head in heads {
            let name = joined([head, Array("type".utf8)])
            let value = joined([head, Array("post".utf8)])
            let maps: [[UInt8]] = [[0x81], [0xDE, 0, 1], [0xDF, 0, 0, 0, 1]]
            for map in maps {
                let outcome = reading(joined([map, name, value]), .messagePack)
                let label = MessageLabel(type: "post", id: nil)
                #expect(outcome == Outcome.success(.message(label, .messagePack, ByteBuffer(bytes: [0xC0]))))
            }
        }
    }

    @Test("Members that mean nothing are ignored, whatever they are")
    func unknownMembers() {
        let text = #"{"x":{"type":"$ping","id":[]},"":1,"Type":2,"type ":3,"type":"$pong","ids":{},"x":[[]]}"#
        #expect(json(text) == Outcome.success(.pong))
        let packed = pack([
            ("x", [0x81, 0xC0, 0x90]), ("", [0xC0]), ("Type", [0x01]), ("type", str("$pong")), ("x", [0xD4, 1, 1]),
        ])
        #expect(packed == Outcome.success(.pong))
        // A name that is not UTF-8 is one of those.
        let odd = joined([[0x82, 0xA1, 0xFF, 0xC0], str("type"), str("$pong")])
        #expect(reading(odd, .messagePack) == Outcome.success(.pong))
    }

    // MARK: Limits

    @Test("An id has at most 64 bytes", arguments: ProtocolEncoding.allCases, 63...65)
    func idLength(encoding: ProtocolEncoding, count: Int) {
        let id = String(repeating: "i", count: count)
        let outcome = read(encoding, [("type", .text("post")), ("id", .text(id))])
        #expect(label(of: outcome) == (count <= 64 ? MessageLabel(type: "post", id: id) : nil))
        if count > 64 { #expect(outcome == badFrame(nil, "an id must be 1 to 64 printable ASCII characters")) }
    }

    @Test("A type has at most 128 bytes", arguments: ProtocolEncoding.allCases, 127...129)
    func typeLength(encoding: ProtocolEncoding, count: Int) {
        let type = String(repeating: "t", count: count)
        let outcome = read(encoding, [("type", .text(type)), ("id", .text("q"))])
        #expect(label(of: outcome) == (count <= 128 ? MessageLabel(type: type, id: "q") : nil))
        if count > 128 { #expect(outcome == badFrame("q", "a type must be 1 to 128 printable ASCII characters")) }
    }

    @Test("The name of a member has at most 256 bytes", arguments: ProtocolEncoding.allCases, 255...257)
    func nameLength(encoding: ProtocolEncoding, count: Int) {
        let name = String(repeating: "n", count: count)
        let outcome = read(encoding, [("type", .text("post")), (name, .number(1)), ("id", .text("q"))])
        #expect(label(of: outcome) == (count <= 256 ? MessageLabel(type: "post", id: "q") : nil))
        if count > 256 { #expect(outcome == badFrame("q", "the name of a member is too long")) }
    }

    @Test("A frame has at most 64 members", arguments: ProtocolEncoding.allCases, 63...65)
    func memberCount(encoding: ProtocolEncoding, count: Int) {
        var members: [(String, Value)] = [("type", .text("post"))]
        for index in 0..<count - 2 { members.append(("m\(index)", .number(1))) }
        members.append(("id", .text("q")))
        let outcome = read(encoding, members)
        #expect(label(of: outcome) == (count <= 64 ? MessageLabel(type: "post", id: "q") : nil))
        if count > 64 { #expect(outcome == badFrame("q", "a frame has at most 64 members")) }
    }

    @Test(
        "Values lie at most 100 deep in one another, whatever their names are",
        arguments: ProtocolEncoding.allCases,
        99...101
    )
    func depth(encoding: ProtocolEncoding, depth: Int) {
        let fault = "arrays and objects lie at most 100 deep in one another"
        for name in ["payload", "x", "seq"] {
            let before = read(encoding, [("id", .text("q")), ("type", .text("post")), (name, .nested(depth))])
            #expect(label(of: before) == (depth <= 100 ? MessageLabel(type: "post", id: "q") : nil))
            if depth > 100 { #expect(before == badFrame("q", fault)) }
            // What comes behind it is not read.
            let after = read(encoding, [("type", .text("post")), (name, .nested(depth)), ("id", .text("q"))])
            #expect(label(of: after) == (depth <= 100 ? MessageLabel(type: "post", id: "q") : nil))
            if depth > 100 { #expect(after == badFrame(nil, fault)) }
        }
    }

    @Test("Objects of JSON lie as deep as arrays", arguments: 99...101)
    func depthOfObjects(depth: Int) {
        let payload = String(repeating: #"{"a":"#, count: depth) + "1" + String(repeating: "}", count: depth)
        let outcome = json(#"{"type":"post","payload":\#(payload)}"#)
        let expected = Outcome.success(
            .message(MessageLabel(type: "post", id: nil), .json, ByteBuffer(string: payload))
        )
        #expect((outcome == expected) == (depth <= 100))
    }

    @Test("Values of any number may stand beside one another")
    func width() {
        let many = "[" + String(repeating: "[],{},", count: 1_000) + "0]"
        #expect(json(#"{"type":"$ping","payload":\#(many)}"#) == Outcome.success(.ping))
        let packed: [UInt8] = [0xDC, 0x03, 0xE8] + [UInt8](repeating: 0x90, count: 1_000)
        #expect(pack([("type", str("$ping")), ("payload", packed)]) == Outcome.success(.ping))
    }

    @Test(
        "A number is at most 2^53",
        arguments: ProtocolEncoding.allCases,
        [
            (0, true), (1, true), (9_007_199_254_740_991, true), (9_007_199_254_740_992, true),
            (9_007_199_254_740_993, false), (9_223_372_036_854_775_807, false), (9_223_372_036_854_775_808, false),
            (18_446_744_073_709_551_615, false),
        ] as [(UInt64, Bool)]
    )
    func numbers(encoding: ProtocolEncoding, sample: (UInt64, Bool)) {
        let (number, isTaken) = sample
        let outcome = read(encoding, [("type", .text("$ack")), ("id", .text("q")), ("seq", .number(number))])
        let fault = badFrame("q", "seq must be a whole number from 0 to 2^53")
        #expect(outcome == (isTaken ? Outcome.success(.acknowledge(number)) : fault))
    }

    @Test("A whole number of MessagePack may have any of its forms")
    func formsOfNumbers() {
        let good: [([UInt8], UInt64)] = [
            ([0x7F], 127), ([0xCC, 5], 5), ([0xCD, 1, 0], 256), ([0xCE, 0, 1, 0, 0], 65_536),
            ([0xCF, 0, 0, 0, 1, 0, 0, 0, 0], 4_294_967_296), ([0xD0, 0x7F], 127), ([0xD1, 0x7F, 0xFF], 32_767),
            ([0xD2, 0x7F, 0xFF, 0xFF, 0xFF], 2_147_483_647), ([0xD3, 0, 0, 0, 0, 0, 0, 0, 9], 9),
            ([0xCB, 0x40, 0x2C, 0, 0, 0, 0, 0, 0], 14), ([0xCB, 0x43, 0x40, 0, 0, 0, 0, 0, 0], 9_007_199_254_740_992),
        ]
        for (bytes, number) in good {
            #expect(pack([("type", str("$ack")), ("seq", bytes)]) == Outcome.success(.acknowledge(number)), "\(bytes)")
        }
        let bad: [[UInt8]] = [
            [0xC0], [0xC2], [0xE0], [0xFF], [0xD0, 0x80], [0xD1, 0x80, 0], [0xD2, 0x80, 0, 0, 0],
            [0xD3, 0x80, 0, 0, 0, 0, 0, 0, 0], [0xCB, 0x3F, 0xF8, 0, 0, 0, 0, 0, 0],
            [0xCB, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0], [0xCB, 0x7F, 0xF8, 0, 0, 0, 0, 0, 0],
            [0xCB, 0xBF, 0xF0, 0, 0, 0, 0, 0, 0], [0xCB, 0x43, 0x40, 0, 0, 0, 0, 0, 1], [0xA1, 0x31], [0x90],
        ]
        for bytes in bad {
            let outcome = pack([("type", str("$ack")), ("seq", bytes)])
            #expect(outcome == badFrame(nil, "seq must be a whole number from 0 to 2^53"), "\(bytes)")
        }
    }

    @Test(
        "A whole number of JSON has digits alone",
        arguments: ["null", "true", #""1""#, "-1", "1.0", "1e3", "[]", "{}", "9223372036854775808", "1.5"]
    )
    func badNumbers(value: String) {
        let outcome = json(#"{"type":"$ack","seq":\#(value),"id":"q"}"#)
        #expect(outcome == badFrame("q", "seq must be a whole number from 0 to 2^53"))
    }

    // MARK: What breaks a rule

    @Test("A member that means something appears once", arguments: ProtocolEncoding.allCases)
    func duplicates(encoding: ProtocolEncoding) {
        let twice: [(String, Value)] = [
            ("payload", .number(1)), ("seq", .number(1)), ("channel", .text("a")), ("token", .text("a")),
            ("channels", .number(1)), ("session", .text("s")),
            ("type", .text("post")), ("id", .text("q")),
        ]
        for (name, value) in twice {
            var members: [(String, Value)] = [("type", .text("post")), ("id", .text("q")), (name, value)]
            if name != "type", name != "id" {
                #expect(label(of: read(encoding, members)) == MessageLabel(type: "post", id: "q"))
                members.append((name, value))
            }
            #expect(read(encoding, members) == badFrame("q", "a member appears twice"), "\(name)")
        }
    }

    @Test("A name written with an escape is the same name")
    func escapedDuplicate() {
        #expect(json(#"{"type":"post","t\u0079pe":"post"}"#) == badFrame(nil, "a member appears twice"))
    }

    @Test("A frame has a type that clients may send", arguments: ProtocolEncoding.allCases)
    func types(encoding: ProtocolEncoding) {
        func type(_ value: Value) -> Outcome { read(encoding, [("id", .text("q")), ("type", value)]) }
        #expect(read(encoding, []) == badFrame(nil, "a frame must have a type"))
        #expect(read(encoding, [("id", .text("q"))]) == badFrame("q", "a frame must have a type"))
        #expect(type(.number(1)) == badFrame("q", "type must be a string"))
        #expect(type(.nested(1)) == badFrame("q", "type must be a string"))
        for text in ["", "é", "\u{7F}", "a\u{A0}"] {
            #expect(type(.text(text)) == badFrame("q", "a type must be 1 to 128 printable ASCII characters"))
        }
        for text in ["$", "$welcome", "$resumed", "$error", "$Ping", "$ack ", "$client-a"] {
            #expect(type(.text(text)) == badFrame("q", "this type is not one that a client may send"), "\(text)")
        }
        for text in [" ", "~", "ping", "a$", "Client-a", "client", " $ack"] {
            #expect(label(of: type(.text(text))) == MessageLabel(type: text, id: "q"))
        }
    }

    @Test("An id is printable ASCII", arguments: ProtocolEncoding.allCases)
    func ids(encoding: ProtocolEncoding) {
        func id(_ value: Value) -> Outcome { read(encoding, [("type", .text("post")), ("id", value)]) }
        for text in ["", "é", "\u{7F}", "a\u{80}"] {
            #expect(id(.text(text)) == badFrame(nil, "an id must be 1 to 64 printable ASCII characters"))
        }
        #expect(id(.number(7)) == badFrame(nil, "id must be a string"))
        for text in [" ", "~", "0"] { #expect(label(of: id(.text(text))) == MessageLabel(type: "post", id: text)) }
    }

    @Test("Each type needs its members", arguments: ProtocolEncoding.allCases)
    func requirements(encoding: ProtocolEncoding) {
        func frame(_ type: String, _ more: [(String, Value)] = []) -> Outcome {
            read(encoding, [("type", .text(type)), ("id", .text("q"))] + more)
        }
        #expect(frame("$ack") == badFrame("q", "$ack must have a seq"))
        #expect(frame("$token") == badFrame("q", "$token must have a token"))
        #expect(frame("$token", [("token", .number(1))]) == badFrame("q", "token must be a string"))
        let event = badFrame("q", "a client event must have the name of a channel")
        #expect(frame("client-a") == event)
        for name in ["", "a b", "a,b", "é", String(repeating: "c", count: 201)] {
            #expect(frame("client-a", [("channel", .text(name))]) == event)
        }
        #expect(frame("client-a", [("channel", .number(1))]) == badFrame("q", "channel must be a string"))
        // Members that a type does not need are not looked at.
        let sloppy = frame("$ping", [("seq", .text("x")), ("channel", .number(1)), ("token", .nested(2))])
        #expect(sloppy == Outcome.success(.ping))
    }

    @Test("Names of MessagePack are strings, and texts are UTF-8")
    func namesOfMessagePack() {
        let names: [[UInt8]] = [[0x01], [0xC0], [0xC4, 1, 0x78], [0x90], [0x80], [0xC3]]
        for name in names {
            let bytes = joined([[0x83], name, [0xC0], str("type"), str("$ping"), str("id"), str("q")])
            #expect(reading(bytes, .messagePack) == badFrame("q", "the names of members must be strings"))
        }
        let invalid: [UInt8] = [0xA2, 0xC3, 0x28]
        #expect(pack([("type", invalid), ("id", str("q"))]) == badFrame("q", "type must be a string"))
        #expect(pack([("type", str("$ping")), ("id", invalid)]) == badFrame(nil, "id must be a string"))
        #expect(pack([("type", [0xC4, 1, 0x78])]) == badFrame(nil, "type must be a string"))
    }

    // MARK: What is no frame

    @Test(
        "Text that is no object of JSON is no frame",
        arguments: [
            "", " ", "\u{FEFF}", "null", "1", #""x""#, "[]", #"[{"type":"$ping"}]"#, "{", "}", "{}}", "{}{}", "{} x",
            "{,}", #"{"type"}"#, #"{"type":}"#, #"{"type":"$ping",}"#, #"{"type":"$ping"},"#, #"{"type" "$ping"}"#,
            #"{"type":"$ping" "id":"a"}"#, #"{type:"$ping"}"#, "{'type':'$ping'}", #"{"type":"$ping","payload":01}"#,
            #"{"type":"$ping","payload":+1}"#, #"{"type":"$ping","payload":.5}"#, #"{"type":"$ping","payload":1.}"#,
            #"{"type":"$ping","payload":NaN}"#, #"{"type":"$ping","payload":tru}"#, #"{"type":"$ping","payload":[1}"#,
            #"{"type":"$ping","payload":[1,]}"#, #"{"type":"$ping","payload":{"a":1,}}"#, "{\"type\":\"$ping\n\"}",
            #"{"type":"$ping","payload":"\x"}"#, #"{"type":"$ping","payload":"\u12g4"}"#, #"{"type":"$ping","x":"}"#,
            "{\"type\":\"$ping\",\"payload\":\"\u{0}\"}", "/**/{}",
        ]
    )
    func malformedJSON(text: String) {
        #expect(json(text) == Outcome.failure(.notAFrame("a frame must be a well-formed JSON object")))
    }

    @Test("Bytes that are no map of MessagePack are no frame")
    func malformedMessagePack() {
        let ping = joined([str("type"), str("$ping")])
        let samples: [[UInt8]] = [
            [], [0xC0], [0xC1], [0x90], [0x91, 0x80], [0x01], [0xA0], [0xC4, 0], [0xDE], [0xDE, 0], [0xDF, 0, 0, 0],
            [0xDF, 0xFF, 0xFF, 0xFF, 0xFF], [0x81], [0x81, 0xA4], [0x80, 0x80], [0x80, 0xC0],
        ]
        for bytes in samples { #expect(reading(bytes, .messagePack) == notAMap, "\(bytes)") }
        #expect(reading(joined([[0x81], ping]), .messagePack) == Outcome.success(.ping))
        #expect(reading(joined([[0x81], ping, [0xC0]]), .messagePack) == notAMap)
        // What comes in the place of a second member.
        let seconds: [[UInt8]] = [
            [], [0xC1, 0xC0], [0xA1, 0x78, 0xC1], [0xA1, 0x78, 0xD9, 2, 0], [0xA1, 0x78, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF],
            [0xA1, 0x78, 0xDD, 0xFF, 0xFF, 0xFF, 0xFF], [0xA1, 0x78, 0xDF, 0xFF, 0xFF, 0xFF, 0xFF, 0xC0],
            [0xA1, 0x78, 0xC9, 0xFF, 0xFF, 0xFF, 0xFF, 1], [0xA1, 0x78, 0xD8, 1, 2], [0xA1, 0x78, 0xCF, 1, 2, 3],
        ]
        for second in seconds {
            #expect(reading(joined([[0x82], ping, second]), .messagePack) == notAMap, "\(second)")
        }
    }

    @Test("No frame that is cut is one", arguments: ProtocolEncoding.allCases)
    func cut(encoding: ProtocolEncoding) {
        let bytes = encoded(
            encoding,
            [("type", .text("post")), ("x", .number(70_000)), ("id", .text("a1")), ("payload", .nested(3))]
        )
        #expect(label(of: reading(bytes, encoding)) == MessageLabel(type: "post", id: "a1"))
        for count in 0..<bytes.count {
            guard case .failure(.notAFrame) = reading(Array(bytes[..<count]), encoding) else {
                Issue.record("cut at \(count)")
                continue
            }
        }
    }

    @Test("Each encoding has its own kind of message")
    func formats() {
        let text = ByteBuffer(string: #"{"type":"$ping"}"#)
        let map = ByteBuffer(bytes: joined([[0x81], str("type"), str("$ping")]))
        let formats: [(MessageFormat, Bool)] = [(.text, true), (.json, true), (.binary, false), (.messagePack, false)]
        for (format, isText) in formats {
            let asJSON = attempt(.json, format, text)
            let asMap = attempt(.messagePack, format, map)
            if isText {
                #expect(asJSON == Outcome.success(.ping))
                #expect(asMap == Outcome.failure(.notAFrame("a frame must be binary")))
            } else {
                #expect(asJSON == Outcome.failure(.notAFrame("a frame must be text")))
                #expect(asMap == Outcome.success(.ping))
            }
        }
    }

    @Test("The first encoding that a client offers is chosen")
    func offers() {
        #expect(ProtocolOffer([]) == nil)
        #expect(ProtocolOffer(["graphql-ws", "sidesocket.v2.json", "sidesocket.v1.", "sidesocket.v1.JSON"]) == nil)
        #expect(ProtocolOffer(["x", "sidesocket.v1.json", "sidesocket.v1.msgpack"])?.encoding == .json)
        #expect(ProtocolOffer(["sidesocket.v1.msgpack", "sidesocket.v1.json"])?.encoding == .messagePack)
        #expect(ProtocolEncoding.json.subprotocol == "sidesocket.v1.json")
        #expect(ProtocolEncoding.messagePack.subprotocol == "sidesocket.v1.msgpack")
        let text = String(repeating: "aZ9-_", count: 8) + "abc"
        let token = ResumeToken(text)
        #expect(token?.text == text)
        #expect(ProtocolOffer(["sidesocket.v1.json"])?.resume == nil)
        let session = ProtocolOffer(["sidesocket.resume.\(text)", "sidesocket.v1.json"])?.resume
        #expect(session == token.map { ProtocolOffer.Resume.session($0) })
        for other in ["", "-", text + "a", String(text.dropLast()), String(text.dropLast()) + "="] {
            let positions = ProtocolOffer(["sidesocket.v1.json", "sidesocket.resume.\(other)"])?.resume
            #expect(positions == ProtocolOffer.Resume.positions, "\(other)")
        }
        #expect(ProtocolOffer(["sidesocket.resume.\(text)"]) == nil)
        #expect(ProtocolOffer.isReserved("sidesocket.resume.x") && ProtocolOffer.isReserved("sidesocket.v9.json"))
        #expect(!ProtocolOffer.isReserved("sidesocket") && !ProtocolOffer.isReserved("x.sidesocket.v1.json"))
    }
}

// MARK: Making frames

/// A value in either encoding.
private enum Value {
    case text(String)
    case number(UInt64)
    /// A number inside of so many arrays.
    case nested(Int)

    /// The texts need no escapes.
    var json: String {
        switch self {
        case .text(let text): "\"\(text)\""
        case .number(let number): "\(number)"
        case .nested(let depth): String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth)
        }
    }

    var messagePack: [UInt8] {
        switch self {
        case .text(let text): str(text)
        case .number(let number): withUnsafeBytes(of: number.bigEndian) { joined([[0xCF], Array($0)]) }
        case .nested(let depth): joined([[UInt8](repeating: 0x91, count: depth), [0x01]])
        }
    }
}

private func joined(_ parts: [[UInt8]]) -> [UInt8] { Array(parts.joined()) }

/// A string of MessagePack.
private func str(_ text: String) -> [UInt8] {
    let bytes = Array(text.utf8)
    let high = UInt8(bytes.count / 256)
    let low = UInt8(bytes.count % 256)
    if bytes.count < 32 { return [0xA0 + low] + bytes }
    return high == 0 ? [0xD9, low] + bytes : [0xDA, high, low] + bytes
}

/// The members as one map of MessagePack.
private func packed(_ members: [(String, [UInt8])]) -> [UInt8] {
    var bytes: [UInt8] = members.count < 16 ? [0x80 + UInt8(members.count)] : [0xDE, 0, UInt8(members.count)]
    for (name, value) in members { bytes += str(name) + value }
    return bytes
}

private func encoded(_ encoding: ProtocolEncoding, _ members: [(String, Value)]) -> [UInt8] {
    switch encoding {
    case .json: Array(("{" + members.map { "\"\($0)\":\($1.json)" }.joined(separator: ",") + "}").utf8)
    case .messagePack: packed(members.map { ($0, $1.messagePack) })
    }
}

// MARK: Reading them

private let notAMap = Outcome.failure(.notAFrame("a frame must be a well-formed MessagePack map"))

private func badFrame(_ id: String?, _ message: String) -> Outcome {
    .failure(.badFrame(id: id, message: message))
}

private func label(of outcome: Outcome) -> MessageLabel? {
    guard case .success(.message(let label, _, _)) = outcome else { return nil }
    return label
}

private func attempt(_ encoding: ProtocolEncoding, _ format: MessageFormat, _ message: ByteBuffer) -> Outcome {
    do throws(ClientFrameFault) {
        return .success(try encoding.read(format, message))
    } catch {
        return .failure(error)
    }
}

/// Reads a message alone and as a part of a larger buffer, which must make no difference.
private func reading(
    _ bytes: [UInt8],
    _ encoding: ProtocolEncoding,
    _ location: SourceLocation = #_sourceLocation
) -> Outcome {
    let alone = attempt(encoding, encoding.format, ByteBuffer(bytes: bytes))
    var larger = ByteBuffer(bytes: [0x7B, 0x22, 0x81, 0xA4, 0x74])
    larger.writeBytes(bytes)
    larger.writeBytes([0x7D, 0x20, 0xC0])
    // It begins neither where the storage does nor where the buffer does.
    guard var part = larger.getSlice(at: 2, length: 3 + bytes.count) else {
        Issue.record("no slice", sourceLocation: location)
        return alone
    }
    part.moveReaderIndex(forwardBy: 3)
    let inside = attempt(encoding, encoding.format, part)
    #expect(inside == alone, "as a part of a larger buffer", sourceLocation: location)
    return alone
}

private func json(_ text: String, _ location: SourceLocation = #_sourceLocation) -> Outcome {
    reading(Array(text.utf8), .json, location)
}

private func pack(_ members: [(String, [UInt8])], _ location: SourceLocation = #_sourceLocation) -> Outcome {
    reading(packed(members), .messagePack, location)
}

private func read(
    _ encoding: ProtocolEncoding,
    _ members: [(String, Value)],
    _ location: SourceLocation = #_sourceLocation
) -> Outcome {
    reading(encoded(encoding, members), encoding, location)
}
