import NIOCore
import Testing

@testable import SidecarCore

@Suite("A POST of the client protocol")
struct ProtocolPostTests {
    private static let token = String(repeating: "A", count: 43)

    private func read(_ text: String) throws(ProtocolPost.Fault) -> ProtocolPost {
        try ProtocolPost(body: ByteBuffer(string: text))
    }

    private func fault(_ text: String) -> String? {
        do throws(ProtocolPost.Fault) {
            _ = try read(text)
            return nil
        } catch {
            return error.what
        }
    }

    @Test("A first POST is a new client's, or says what an earlier one has got")
    func first() throws {
        let new = try read(#"{"key":"k","n":1}"#)
        #expect(new.sender == .new && new.key == "k" && new.number == 1 && new.frames.isEmpty)
        let text =
            #"{"n":1,"seq":7,"channels":{"room":{"offset":3,"epoch":"k3","id":"00000000000000a1"}},"session":"s"}"#
        let returning = try read(text)
        #expect(returning.sender == .positions)
        #expect(returning.position.seq == 7 && returning.position.session == "s")
        #expect(returning.position.channels.count == 1)
        #expect(try read(#"{"resume":"-","n":1}"#).sender == .positions)
        let token = try #require(ResumeToken(Self.token))
        #expect(try read(#"{"resume":"\#(Self.token)","n":1}"#).sender == .session(token))
    }

    @Test("Frames are slices of the body, whatever they are")
    func frames() throws {
        let post = try read(#"{"resume":"\#(Self.token)","n":2,"send":[ {"a": 1 } ,2,"x" ]}"#)
        #expect(post.frames.map { String(buffer: $0) } == [#"{"a": 1 }"#, "2", #""x""#])
    }

    @Test(
        "What is wrong is said",
        arguments: [
            ("", "object"), ("[]", "object"), ("{", "object"), (#"{"n":1}x"#, "object"), ("{}", "n, the number"),
            (#"{"n":0}"#, "n, the number"), (#"{"n":-1}"#, "as n"), (#"{"n":"1"}"#, "as n"),
            (#"{"n":1,"n":1}"#, "n twice"),
            (#"{"n":2}"#, "token"), (#"{"n":1,"send":1}"#, "array"), (#"{"n":1,"key":""}"#, "key"),
            (#"{"n":1,"seq":1.5}"#, "as seq"), (#"{"n":1,"channels":[]}"#, "channels"),
            (#"{"n":1,"resume":1}"#, "resume"),
        ]
    )
    func faults(text: String, part: String) {
        #expect(fault(text)?.contains(part) == true, "\(fault(text) ?? "taken")")
    }

    @Test("A body that is not UTF-8 is refused")
    func encoding() {
        #expect(throws: ProtocolPost.Fault(what: "is not UTF-8")) {
            try ProtocolPost(body: ByteBuffer(bytes: Array(#"{"n":1,"x":""#.utf8) + [0xFF] + Array(#""}"#.utf8)))
        }
    }
}

@Suite("The order of POSTs")
struct PostLedgerTests {
    private func arrive(_ ledger: inout PostLedger<String>, _ number: UInt64) -> String {
        switch ledger.arrived(number) {
        case .next: "next"
        case .unanswered: "unanswered"
        case .answered(let answer): answer
        case .early: "early"
        case .outOfTurn: "out of turn"
        }
    }

    @Test("Each is taken once, and a repeat gets its answer while that is one of the last two")
    func repeats() {
        var ledger = PostLedger<String>()
        #expect(arrive(&ledger, 1) == "next" && arrive(&ledger, 1) == "unanswered")
        ledger.answered(1, "a")
        #expect(arrive(&ledger, 1) == "a" && arrive(&ledger, 2) == "next")
        #expect(arrive(&ledger, 1) == "a" && arrive(&ledger, 2) == "unanswered")
        #expect(ledger.answered(2, "b") == nil && arrive(&ledger, 3) == "next")
        #expect(ledger.answered(3, "c") == "a")
        #expect(arrive(&ledger, 1) == "out of turn" && arrive(&ledger, 2) == "b" && arrive(&ledger, 3) == "c")
        ledger.forget()
        #expect(arrive(&ledger, 2) == "out of turn" && arrive(&ledger, 3) == "out of turn")
    }

    @Test("One may come before its turn, no more")
    func early() {
        var ledger = PostLedger<String>(last: 4)
        #expect(
            arrive(&ledger, 6) == "early" && arrive(&ledger, 7) == "out of turn" && arrive(&ledger, 0) == "out of turn"
        )
        #expect(arrive(&ledger, .max) == "out of turn")
        #expect(arrive(&ledger, 5) == "next" && arrive(&ledger, 6) == "next" && ledger.last == 6)
    }
}
