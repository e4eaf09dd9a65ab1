import NIOCore
import Testing

@testable import RedisClient

@Suite("RESP3 decoder")
struct RESPDecoderTests {
    private static let samples: [(text: String, value: RESPValue)] = [
        ("+OK\r\n", .simple(ByteBuffer(string: "OK"))),
        ("+\r\n", .simple(ByteBuffer())),
        ("-ERR bad thing\r\n", .error(RedisErrorReply("ERR bad thing"))),
        ("!9\r\nNOPERM no\r\n", .error(RedisErrorReply("NOPERM no"))),
        (":0\r\n", .integer(0)),
        (":+17\r\n", .integer(17)),
        (":-9223372036854775808\r\n", .integer(.min)),
        (":9223372036854775807\r\n", .integer(.max)),
        ("$3\r\na\r\n\r\n", .bulk(ByteBuffer(string: "a\r\n"))),
        ("$0\r\n\r\n", .bulk(ByteBuffer())),
        ("$-1\r\n", .null),
        ("*-1\r\n", .null),
        ("_\r\n", .null),
        ("*0\r\n", .array([])),
        ("%0\r\n", .map([])),
        ("~0\r\n", .set([])),
        (",1.5\r\n", .double(1.5)),
        (",-1e3\r\n", .double(-1000)),
        (",inf\r\n", .double(.infinity)),
        (",-inf\r\n", .double(-.infinity)),
        ("#t\r\n", .boolean(true)),
        ("#f\r\n", .boolean(false)),
        ("(-123456789012345678901234567890\r\n", .bigNumber(ByteBuffer(string: "-123456789012345678901234567890"))),
        ("=6\r\ntxt:ab\r\n", .verbatim(format: "txt", ByteBuffer(string: "ab"))),
        ("*2\r\n:1\r\n*1\r\n$1\r\nx\r\n", .array([.integer(1), .array([.bulk(ByteBuffer(string: "x"))])])),
        ("%1\r\n+k\r\n:2\r\n", .map([.init(key: .simple(ByteBuffer(string: "k")), value: .integer(2))])),
        ("~2\r\n:1\r\n_\r\n", .set([.integer(1), .null])),
        (">2\r\n+message\r\n:1\r\n", .push([.simple(ByteBuffer(string: "message")), .integer(1)])),
        ("|1\r\n+ttl\r\n:3\r\n:5\r\n", .integer(5)),
        ("|0\r\n+x\r\n", .simple(ByteBuffer(string: "x"))),
        ("*1\r\n|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n:7\r\n", .array([.integer(7)])),
    ]

    @Test("Every type is read")
    func types() throws {
        for (text, value) in Self.samples { #expect(try RESPText.decode(text) == [value], "\(text.debugDescription)") }
        guard case .double(let number)? = try RESPText.decode(",nan\r\n").first else { throw ServerError("no double") }
        #expect(number.isNaN)
    }

    @Test("A reply split at every byte decodes the same")
    func split() throws {
        let whole = Self.samples.map(\.text).joined()
        let values = Self.samples.map(\.value)
        let bytes = Array(whole.utf8)
        for cut in 0...bytes.count {
            let pieces = [bytes[..<cut], bytes[cut...]]
            #expect(try RESPText.decode(pieces: pieces) == values, "cut at \(cut)")
        }
        #expect(try RESPText.decode(pieces: bytes.indices.map { bytes[$0...$0] }) == values)
    }

    @Test(
        "Malformed bytes are refused",
        arguments: [
            ("HTTP/1.1 400\r\n", RESPFault.unknownType(0x48)), ("\r\n", .unknownType(13)),
            ("?\r\n", .unknownType(0x3F)),
            ("+a\n", .badLine), ("+a\rb\r\n", .badLine), ("+a\r\r\n", .badLine), (":\r\n", .badNumber),
            (":-\r\n", .badNumber),
            (": 1\r\n", .badNumber), (":1a\r\n", .badNumber), (":9223372036854775808\r\n", .badNumber),
            (":-9223372036854775809\r\n", .badNumber), ("$\r\n", .badLength), ("$+1\r\n", .badLength),
            ("$-2\r\n", .badLength), ("$-0\r\n", .badLength), ("$-01\r\n", .badLength), ("*-2\r\n", .badLength),
            ("%-1\r\n", .badLength), ("~-1\r\n", .badLength), ("$x\r\n", .badLength),
            ("$99999999999999999999\r\n", .badLength), ("$?\r\n", .streamed), ("*?\r\n", .streamed),
            ("%?\r\n", .streamed),
            ("$1\r\nab\r", .badEnd), ("$1\r\na\r\r", .badEnd), ("#x\r\n", .badConstant), ("#\r\n", .badConstant),
            ("#tt\r\n", .badConstant), ("_x\r\n", .badConstant), (",0x10\r\n", .badNumber),
            (",infinity\r\n", .badNumber),
            (",\r\n", .badNumber), (",1,5\r\n", .badNumber), ("(\r\n", .badNumber), ("(1.5\r\n", .badNumber),
            ("=3\r\ntxt\r\n", .badVerbatim), ("=4\r\ntxt-\r\n", .badVerbatim), ("*1\r\n>1\r\n", .nestedPush),
        ]
    )
    func malformed(text: String, fault: RESPFault) {
        #expect(throws: fault) { try RESPText.decode(text) }
        #expect(throws: fault) { try RESPText.decode(pieces: Array(text.utf8).map { [$0][...] }) }
        #expect(!fault.sentence.isEmpty)
    }

    @Test("After a fault nothing is read any more")
    func faultStays() {
        var decoder = RESPDecoder(limits: RESPLimits())
        var bad = ByteBuffer(string: ":x\r\n")
        #expect(throws: RESPFault.badNumber) { try decoder.next(&bad) }
        var good = ByteBuffer(string: ":1\r\n")
        #expect(throws: RESPFault.badNumber) { try decoder.next(&good) }
    }

    @Test("As many bytes as allowed are read, and one more is refused before it comes")
    func maxBytes() throws {
        for length in [99, 100, 101] {
            let text = "$\(length)\r\n" + String(repeating: "x", count: length) + "\r\n"
            // `$100`, two line ends and 100 bytes.
            let limits = RESPLimits(maxBytes: 108)
            if text.utf8.count <= 108 {
                #expect(try RESPText.decode(text, limits).count == 1)
            } else {
                #expect(throws: RESPFault.tooLarge) { try RESPText.decode("$\(length)\r\n", limits) }
            }
        }
        let lines = "*3\r\n+abc\r\n+abc\r\n+abc\r\n"
        #expect(try RESPText.decode(lines + lines, RESPLimits(maxBytes: lines.utf8.count)).count == 2)
        #expect(throws: RESPFault.tooLarge) { try RESPText.decode(lines, RESPLimits(maxBytes: lines.utf8.count - 1)) }
    }

    @Test("As many elements as allowed are read, in one aggregate and in all of a reply")
    func maxElements() throws {
        for count in [9, 10, 11] {
            let flat = "*\(count)\r\n" + String(repeating: ":1\r\n", count: count)
            let nested = "*1\r\n*\(count - 1)\r\n" + String(repeating: ":1\r\n", count: count - 1)
            let limits = RESPLimits(maxElements: 10)
            for text in [flat, nested] {
                if count <= 10 {
                    #expect(try RESPText.decode(text + text, limits).count == 2)
                } else {
                    #expect(throws: RESPFault.tooManyElements) { try RESPText.decode(text, limits) }
                }
            }
        }
        #expect(throws: RESPFault.tooManyElements) { try RESPText.decode("%6\r\n", RESPLimits(maxElements: 10)) }
        #expect(throws: RESPFault.tooManyElements) { try RESPText.decode("|6\r\n", RESPLimits(maxElements: 10)) }
    }

    @Test("As many aggregates inside each other as allowed are read")
    func maxDepth() throws {
        for depth in [3, 4, 5] {
            let text = String(repeating: "*1\r\n", count: depth) + "_\r\n"
            let limits = RESPLimits(maxDepth: 4)
            if depth <= 4 {
                #expect(try RESPText.decode(text, limits).count == 1)
            } else {
                #expect(throws: RESPFault.tooDeep) { try RESPText.decode(text, limits) }
            }
        }
        #expect(throws: RESPFault.tooDeep) { try RESPText.decode(String(repeating: "*1\r\n", count: 10_000)) }
        #expect(throws: RESPFault.tooDeep) { try RESPText.decode(String(repeating: "|1\r\n", count: 10_000)) }
    }

    @Test("Lengths that nobody could send are refused at once, and allocate nothing")
    func announcedLengths() {
        for text in ["$2147483648\r\n", "$9223372036854775807\r\n", "=2147483648\r\n", "!2147483648\r\n"] {
            #expect(throws: RESPFault.tooLarge) { try RESPText.decode(text) }
        }
        for text in ["*1000000000\r\n", "*9223372036854775807\r\n", "%9223372036854775807\r\n", ">1048577\r\n"] {
            #expect(throws: RESPFault.tooManyElements) { try RESPText.decode(text) }
        }
    }

    @Test("Lines without an end are refused when they are longer than any")
    func endlessLines() throws {
        for type in ["+", "-", "("] {
            let text = type + String(repeating: "1", count: RESPLimits.maxTextLine)
            #expect(try RESPText.decode(text + "\r\n").count == 1)
            #expect(throws: RESPFault.lineTooLong) { try RESPText.decode(text + "111") }
        }
        for type in [":", "$", "*", ",", "#", "_"] {
            let text = type + String(repeating: "1", count: RESPLimits.maxNumberLine + 3)
            #expect(throws: RESPFault.lineTooLong) { try RESPText.decode(text) }
        }
    }

    @Test("Endless attributes are bounded like any reply")
    func attributes() {
        let text = String(repeating: "|0\r\n", count: 100)
        #expect(throws: RESPFault.tooLarge) { try RESPText.decode(text, RESPLimits(maxBytes: 300)) }
    }

    @Test("The work for a large reply is proportional to its bytes, however they arrive")
    func linear() throws {
        func seconds(_ count: Int) throws -> Double {
            let element = Array("$10\r\n0123456789\r\n".utf8)
            let head = Array("*\(count)\r\n".utf8)
            var decoder = RESPDecoder(limits: RESPLimits())
            let start = NIODeadline.now()
            var input = ByteBuffer(bytes: head)
            #expect(try decoder.next(&input) == nil)
            for index in 0..<count {
                // Three pieces for each element.
                for piece in [element[..<2], element[2..<9], element[9...]] {
                    input = ByteBuffer(bytes: piece)
                    let value = try decoder.next(&input)
                    if index < count - 1, value != nil { throw ServerError("too early") }
                }
            }
            return Double((NIODeadline.now() - start).nanoseconds)
        }
        _ = try seconds(1_000)
        let small = try seconds(4_000)
        let large = try seconds(32_000)
        // Eight times the bytes; quadratic work would take 64 times as long.
        #expect(large < small * 32)
    }

    @Test("A large string in small pieces is put together once")
    func largeString() throws {
        let size = 8 << 20
        var decoder = RESPDecoder(limits: RESPLimits())
        var input = ByteBuffer(string: "$\(size)\r\n")
        #expect(try decoder.next(&input) == nil)
        let piece = ByteBuffer(repeating: 0x61, count: 4_096)
        for _ in 0..<(size / 4_096) {
            input = piece
            #expect(try decoder.next(&input) == nil)
            #expect(input.readableBytes == 0)
        }
        #expect(decoder.isInsideReply)
        input = ByteBuffer(string: "\r\n")
        #expect(try decoder.next(&input)?.bytes?.readableBytes == size)
        #expect(!decoder.isInsideReply)
    }

    @Test("Values are looked at without asking for their type first")
    func accessors() {
        let number = RESPValue.bulk(ByteBuffer(string: "-12"))
        #expect(number.integer == -12)
        #expect(number.text == "-12")
        #expect(RESPValue.integer(3).text == "3")
        #expect(RESPValue.simple(ByteBuffer(string: "x")).integer == nil)
        #expect(RESPValue.null.text == nil && RESPValue.null.isNull)
        let flat = RESPValue.array([.simple(ByteBuffer(string: "a")), .integer(1)])
        let map = RESPValue.map([.init(key: .simple(ByteBuffer(string: "a")), value: .integer(1))])
        #expect(flat["a"] == .integer(1) && map["a"] == .integer(1) && map["b"] == nil)
        #expect(map.items == flat.items)
        #expect(RESPValue.integer(1).items == nil && RESPValue.integer(1).bytes == nil)
    }
}

/// Texts as replies.
enum RESPText {
    static func decode(_ text: String, _ limits: RESPLimits = RESPLimits()) throws -> [RESPValue] {
        try decode(pieces: [Array(text.utf8)[...]], limits)
    }

    static func decode(pieces: [ArraySlice<UInt8>], _ limits: RESPLimits = RESPLimits()) throws -> [RESPValue] {
        var decoder = RESPDecoder(limits: limits)
        var values: [RESPValue] = []
        for piece in pieces {
            var input = ByteBuffer(bytes: piece)
            while let value = try decoder.next(&input) { values.append(value) }
            if input.readableBytes > 0 { throw ServerError("bytes are left") }
        }
        return values
    }

    /// The only value of a text.
    static func one(_ text: String) throws -> RESPValue {
        let values = try decode(text)
        guard values.count == 1, let value = values.first else { throw ServerError("not one value") }
        return value
    }
}
