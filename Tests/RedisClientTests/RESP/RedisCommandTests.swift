import NIOCore
import Testing

@testable import RedisClient

@Suite("Commands as bytes")
struct RedisCommandTests {
    private func text(_ command: RedisCommand, withSource: Bool = false) -> String {
        var buffer = ByteBuffer()
        command.write(to: &buffer, withSource: withSource)
        return String(buffer: buffer)
    }

    @Test("A command is an array of strings")
    func plain() {
        let command = RedisCommand("SET", ["k", .bytes(ByteBuffer(string: "a\r\nb")), -5, ""], slotKey: "k")
        #expect(text(command) == "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n$2\r\n-5\r\n$0\r\n\r\n")
        #expect(text(RedisCommand("SET", ["é"], slotKey: nil)) == "*2\r\n$3\r\nSET\r\n$2\r\né\r\n")
        let long = String(repeating: "x", count: 1_234)
        #expect(text(RedisCommand("ECHO", [.text(long)], slotKey: nil)) == "*2\r\n$4\r\nECHO\r\n$1234\r\n\(long)\r\n")
    }

    @Test("A script is named by its SHA-1, or sent whole")
    func script() {
        let script = RedisScript("return 1")
        #expect(script.sha1 == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db")
        let command = RedisCommand.run(script, keys: ["a", "b"], arguments: [7])
        #expect(command.slotKey == "a")
        let rest = "$1\r\n2\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\n7\r\n"
        #expect(text(command) == "*6\r\n$7\r\nEVALSHA\r\n$40\r\n\(script.sha1)\r\n" + rest)
        #expect(text(command, withSource: true) == "*6\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n" + rest)
        #expect(RedisCommand.run(script, keys: [], arguments: []).slotKey == nil)
    }

    @Test("The size is never less than what is sent")
    func size() {
        for count in [0, 1, 9, 10, 99, 100, 5_000] {
            let arguments = (0..<count).map { $0.isMultiple(of: 2) ? RedisArgument.number(.min) : .text("é\($0)") }
            let command = RedisCommand("X", arguments, slotKey: nil)
            #expect(text(command).utf8.count <= command.maxEncodedBytes)
            let run = RedisCommand.run(RedisScript("return 1"), keys: ["a"], arguments: arguments)
            #expect(text(run).utf8.count <= run.maxEncodedBytes)
        }
    }

    @Test("An error is split into code and message")
    func errors() {
        #expect(RedisErrorReply("MOVED 1 a:2").code == "MOVED")
        #expect(RedisErrorReply("MOVED 1 a:2").message == "1 a:2")
        #expect(RedisErrorReply("NOAUTH").text == "NOAUTH")
        #expect(RedisErrorReply("my own error").code == "")
        #expect(RedisErrorReply("my own error").text == "my own error")
        #expect(RedisErrorReply("").text == "")
    }

    @Test("A log line takes no control characters and no endless text of an error")
    func shown() {
        let reply = RedisErrorReply("ERR a\nb\u{1B}[1m\r\n" + String(repeating: "x", count: 10_000))
        #expect(reply.sentence.count < 400)
        #expect(reply.sentence.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F })
        #expect(reply.text.count > 10_000)
    }

    @Test(
        "A failure says what to do about it",
        arguments: [
            ("OOM command not allowed", "maxmemory"), ("NOPERM this user has no permissions", "ACL"),
            ("WRONGPASS invalid", "password of CLUSTER_URL"), ("NOAUTH x", "password"), ("MISCONF x", "disk"),
            ("READONLY x", "redis+sentinel://"), ("ERR x", "ERR x"),
        ]
    )
    func sentences(reply: String, part: String) {
        let sentence = RedisFailure.refused(RedisErrorReply(reply)).sentence
        #expect(sentence.contains(part) && sentence.contains(reply))
    }
}
