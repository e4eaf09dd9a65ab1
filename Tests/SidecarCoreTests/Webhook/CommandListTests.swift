import NIOCore
import Testing

@testable import SidecarCore

@Suite("Command list")
struct CommandListTests {
    private func parse(_ json: String) throws(DeliveryFailure) -> [Command] {
        try CommandList.parse(ByteBuffer(string: json))
    }

    /// The sentence of the failure, or nil when the list was accepted.
    private func failure(_ bytes: some Sequence<UInt8>) -> String? {
        do throws(DeliveryFailure) {
            _ = try CommandList.parse(ByteBuffer(bytes: bytes))
            return nil
        } catch {
            return error.outcome == .badReply && !error.isTransient ? error.sentence : nil
        }
    }

    private func text(_ text: String) -> Command { .send(.text, ByteBuffer(string: text)) }

    @Test("Commands are read in their order")
    func order() throws {
        let list = try parse(
            """
            [{"send":{"text":"a"}}, {"user":"42"}, {"send":{"base64":"AP8="}}, {"state":"s"},
             {"send":{"text":""}}, {"close":{"code":4000,"reason":"bye"}}, {"close":{"code":1000}}, {"user":""}]
            """
        )
        let close = try #require(CloseRequest(code: 4000, reason: "bye"))
        let plain = try #require(CloseRequest(code: 1000, reason: ""))
        #expect(
            list == [
                text("a"), .user("42"), .send(.binary, ByteBuffer(bytes: [0, 0xFF])), .state("s"), text(""),
                .close(close), .close(plain), .user(""),
            ]
        )
    }

    @Test("An empty list does nothing")
    func emptyList() throws {
        #expect(try parse("[]") == [])
        #expect(try parse(" \r\n\t[ ]\n") == [])
        #expect(try parse("\u{FEFF}[]") == [])
    }

    @Test("Strings with line breaks, NUL and quotes are data like any other")
    func controlCharacters() throws {
        #expect(try parse(#"[{"send":{"text":"\u0000\r\n\"😀\ud83d\ude00"}}]"#) == [text("\u{0}\r\n\"😀😀")])
        #expect(try parse(#"[{"user":"a\r\nce-type: x\u0000"}]"#) == [.user("a\r\nce-type: x\u{0}")])
        #expect(try parse(#"[{"state":"\u001b[31m\n"}]"#) == [.state("\u{1B}[31m\n")])
        let close = try #require(CloseRequest(code: 4000, reason: "\r\n\u{0}"))
        #expect(try parse(#"[{"close":{"code":4000,"reason":"\r\n\u0000"}}]"#) == [.close(close)])
    }

    @Test(
        "What is no JSON array of commands is refused",
        arguments: [
            " ", "{}", "null", "1", "\"x\"", "[", "]", "[{}", "[{}]x", "[{}] []", "[,]", "[{\"user\":\"a\"},]",
            "[{\"user\":\"a\"} {\"user\":\"b\"}]", "{\"user\":\"a\"}", "[{'user':'a'}]", "[{user:\"a\"}]",
            "[{\"user\":\"a\n\"}]", "[{\"user\":\"\\x\"}]", "[{\"user\":\"\\ud800\"}]", "[{\"user\":\"a}]",
            "// x\n[]", "[NaN]", "[nul", "[{\"send\":{\"text\":nul", "[{\"user\":\"\\u00", "[{\"user\":\"\\",
            "[{\"user\":\"\\ud800\\",
            "[{\"user\":\"\\ud800\\u0041\"}]", "[{\"user\":\"\\udc00\"}]", "[{\"user\":\"\\u00g0\"}]",
            "[{\"user\" \"a\"}]",
            "[{\"close\":{\"code\":-", "[{\"close\":{\"code\":4000", "[{user", "\u{FEFF}", "\u{FEFF}\u{FEFF}[]",
            "[{\"user\":\"a\"}]\u{0}",
        ]
    )
    func malformed(json: String) {
        #expect(failure(json.utf8) != nil)
    }

    @Test("Bytes that are no UTF-8 are refused")
    func invalidUTF8() {
        let start = Array(#"[{"user":""#.utf8)
        for bad: [UInt8] in [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xE2, 0x82]] {
            #expect(failure(start + bad + Array("\"}]".utf8)) != nil)
        }
        #expect(failure([0xFF, 0xFE, 0x5B]) != nil)
    }

    @Test(
        "An object with no command, two commands or an unknown one is refused with its number",
        arguments: [
            "{}", #"{"user":"a","state":"b"}"#, #"{"send":{"text":"a"},"user":"b"}"#, #"{"unknown":1}"#, #"{"":1}"#,
            #"{"Send":{"text":"a"}}"#, #"{"user ":"a"}"#, #"{"subscribe":"room 1"}"#, #"{"unsubscribe":""}"#,
            #"{"publish":{"channel":"room:1"}}"#, #"{"publish":{"text":"a"}}"#, #"{"subscribe":["a"]}"#,
            #"{"publish":{"channel":"a","text":"b","base64":""}}"#,
            #"{"publish":{"channel":"a","text":"b","exclude":"x"}}"#, #"{"us\u0065rs":"a"}"#,
        ]
    )
    func unknownCommands(command: String) throws {
        #expect(failure("[\(command)]".utf8)?.contains("Command 1:") == true)
        #expect(failure("[{\"user\":\"a\"},{\"user\":\"b\"},\(command),1]".utf8)?.contains("Command 3:") == true)
    }

    @Test(
        "Values of the wrong type are refused with the command's number",
        arguments: [
            "1", "null", "\"user\"", "[]", "true", #"{"user":1}"#, #"{"user":null}"#, #"{"user":["a"]}"#,
            #"{"user":{"a":1}}"#, #"{"user":true}"#, #"{"state":1e400}"#, #"{"state":{}}"#, #"{"send":"a"}"#,
            #"{"send":null}"#, #"{"send":[]}"#, #"{"send":{"text":1}}"#, #"{"send":{"base64":1}}"#, #"{"close":4000}"#,
            #"{"close":null}"#, #"{"close":{}}"#, #"{"close":{"reason":"x"}}"#, #"{"close":{"code":"4000"}}"#,
            #"{"close":{"code":null}}"#, #"{"close":{"code":true}}"#, #"{"close":{"code":4000,"reason":1}}"#,
            #"{"close":[4000,"x"]}"#,
        ]
    )
    func wrongTypes(command: String) {
        #expect(failure("[\(command)]".utf8)?.contains("Command 1:") == true)
    }

    @Test(
        "Close codes that may not be sent, or are no such number, are refused (abuse case 31)",
        arguments: [
            "70000", "-1", "0", "999", "1004", "1005", "1006", "1015", "2999", "5000", "1e400", "-1e400", "1e-400",
            "4000.5", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1e19", "65536", "66536",
            "00004000", "+4000", "0x0FA0", String(repeating: "9", count: 5000),
        ]
    )
    func closeCodes(code: String) {
        #expect(failure(#"[{"close":{"code":\#(code),"reason":"x"}}]"#.utf8) != nil)
    }

    @Test("Sending needs exactly one of text and base64")
    func sendBodies() throws {
        for body in ["{}", #"{"text":"a","base64":"YQ=="}"#, #"{"Text":"a"}"#, #"{"text":null}"#] {
            #expect(failure("[{\"send\":\(body)}]".utf8) != nil, "\(body)")
        }
        let binary = Command.send(.binary, ByteBuffer(string: "a"))
        #expect(try parse(#"[{"send":{"text":null,"base64":"YQ=="}}]"#) == [binary])
        #expect(try parse(#"[{"send":{"base64":"YQ==","text":null}}]"#) == [binary])
    }

    @Test("Base64 is read with its padding and without white space, or not at all")
    func base64() throws {
        for (text, expected) in [("", ""), ("YQ==", "a"), ("YWJj", "abc"), ("\\u0059Q==", "a")] {
            let commands = try parse(#"[{"send":{"base64":"\#(text)"}}]"#)
            #expect(commands == [.send(.binary, ByteBuffer(string: expected))], "\(text)")
        }
        for text in ["YQ", "YQ==\\n", " YQ==", "Y Q==", "_-==", "é", "\\u0000"] {
            #expect(failure(#"[{"send":{"base64":"\#(text)"}}]"#.utf8) != nil, "\(text)")
        }
    }

    @Test("The user and the state have the same limits as in headers")
    func lengths() throws {
        for (name, limit) in [("user", UserName.maxBytes), ("state", SessionReply.maxStateBytes)] {
            for count in [limit - 1, limit] {
                let value = String(repeating: "a", count: count)
                #expect(
                    try parse(#"[{"\#(name)":"\#(value)"}]"#) == [
                        name == "user" ? .user(UserName(value)) : .state(value)
                    ]
                )
            }
            for value in [String(repeating: "a", count: limit + 1), String(repeating: "€", count: limit / 3 + 1)] {
                #expect(failure(#"[{"\#(name)":"\#(value)"}]"#.utf8)?.contains("too long") == true)
            }
        }
    }

    @Test("A close reason of any length is cut, not refused (abuse case 31)")
    func longReason() throws {
        for count in [123, 124, 200, 900_000] {
            let reason = String(repeating: "r", count: count)
            let expected = try #require(CloseRequest(code: 4000, reason: String(repeating: "r", count: 123)))
            #expect(try parse(#"[{"close":{"code":4000,"reason":"\#(reason)"}}]"#) == [.close(expected)])
        }
    }

    @Test("A list may have 1,024 commands and not one more")
    func count() throws {
        func list(_ count: Int) -> String {
            "[" + Array(repeating: #"{"send":{"text":"a"}}"#, count: count).joined(separator: ",") + "]"
        }
        for count in [1023, 1024] { #expect(try parse(list(count)).count == count) }
        for count in [1025, 40_000] { #expect(failure(list(count).utf8)?.contains("more than 1024") == true) }
    }

    @Test("A key that stands twice is refused, in a command and in its value")
    func duplicateKeys() {
        for command in [
            #"{"user":"a","user":"b"}"#, #"{"send":{"text":"a"},"send":{"text":"b"}}"#,
            #"{"send":{"text":"a","text":"b"}}"#, #"{"send":{"base64":"","base64":""}}"#,
            #"{"close":{"code":4000,"code":4001}}"#, #"{"close":{"code":4000,"reason":"a","reason":"b"}}"#,
            #"{"user":"a","us\u0065r":"b"}"#, #"{"close":{"code":4000,"c\u006fde":4001}}"#,
        ] {
            #expect(failure("[\(command)]".utf8)?.contains("Command 1:") == true, "\(command)")
        }
        let many = "[{" + Array(repeating: #""user":"a""#, count: 50_000).joined(separator: ",") + "}]"
        #expect(failure(many.utf8) != nil)
    }

    @Test("A member that is not known is refused rather than ignored, since it may be a slip")
    func unknownMembers() {
        for command in [#"{"close":{"code":4000,"resaon":"x"}}"#, #"{"send":{"text":"a","type":"x"}}"#] {
            #expect(failure("[\(command)]".utf8)?.contains("Command 1:") == true)
        }
    }

    @Test("10,000 brackets deep is a refusal, not an overflow of the stack", arguments: [512, 513, 10_000, 300_000])
    func deepNesting(depth: Int) {
        let openings = [
            "[", #"{"send":"#, #"[{"send":"#, #"[{"user":["#, #"[{"close":{"code":"#, #"[{"x":{"y":"#,
        ]
        for opening in openings {
            #expect(failure(String(repeating: opening, count: depth).utf8) != nil)
        }
        #expect(failure((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8) != nil)
        let nested = #"[{"user":"# + String(repeating: "[", count: depth) + String(repeating: "]", count: depth) + "}]"
        #expect(failure(nested.utf8) != nil)
        let objects = "[" + String(repeating: #"{"send":"#, count: depth) + "1" + String(repeating: "}", count: depth)
        #expect(failure((objects + "]").utf8) != nil)
    }

    @Test("A list cut at any byte is refused")
    func cut() {
        let list = Array(#"[{"send":{"text":"aé😀"}},{"send":{"base64":"AP8="}},{"close":{"code":4000}}]"#.utf8)
        #expect(failure(list) == nil)
        for count in list.indices { #expect(failure(list[..<count]) != nil, "\(count)") }
    }

    @Test("A list in a slice of a larger buffer is read from there alone")
    func slice() throws {
        var buffer = ByteBuffer(string: #"xx[{"user":"a"}]yy"#)
        buffer.moveReaderIndex(forwardBy: 2)
        buffer.moveWriterIndex(to: buffer.writerIndex - 2)
        #expect(try CommandList.parse(buffer) == [.user("a")])
    }

    private func parse(_ json: String, batchOf count: Int) throws(DeliveryFailure) -> [Command] {
        try CommandList.parse(ByteBuffer(string: json), batchOf: count)
    }

    @Test("The answer to a batch is a list with the commands of each event, in order")
    func batch() throws {
        #expect(try parse("[[],[]]", batchOf: 2) == [])
        #expect(try parse(" [ [ ] , [ ] , [ ] ]\n", batchOf: 3) == [])
        let answer = #"[[{"send":{"text":"a"}},{"user":"1"}],[],[{"send":{"text":"b"}}]]"#
        #expect(try parse(answer, batchOf: 3) == [text("a"), .user("1"), text("b")])
    }

    @Test(
        "An answer with more, fewer or other entries than the batch is refused",
        arguments: [
            "", "[]", "[[]]", "[[],[]", "[[],[]],", "[[],[],[]]", "[[],{}]", "[[],null]", "{}", "[[],[]]x", "[,[]]",
            "[[] []]", #"[{"user":"1"},{"user":"2"}]"#, #"[[],[{"close":{"code":1}}]]"#,
        ]
    )
    func badBatch(json: String) {
        do throws(DeliveryFailure) {
            Issue.record("\(try parse(json, batchOf: 2))")
        } catch {
            #expect(error.outcome == .badReply && !error.isTransient)
        }
    }
}
