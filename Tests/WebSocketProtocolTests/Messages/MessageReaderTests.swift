import NIOCore
import Testing

@testable import WebSocketProtocol

/// Legal client bytes and all that must be heard of them.
struct Talk: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let heard: [Heard]
    var testDescription: String { self.name }

    init(_ name: String, _ bytes: [UInt8], _ heard: [Heard]) {
        self.name = name
        self.bytes = bytes
        self.heard = heard
    }

    static func pattern(_ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) } }

    static let all: [Talk] =
        [
            Talk("an empty text", ClientBytes.text(""), [.text("")]),
            Talk("an empty binary", ClientBytes.frame(0x82), [.binary([])]),
            Talk(
                "the masked Hello of RFC 6455",
                [0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58],
                [.text("Hello")]
            ),
            Talk("text of 1 to 4 byte characters", ClientBytes.text("aß水🜂"), [.text("aß水🜂")]),
            Talk("NUL and U+10FFFF", ClientBytes.text("\0\u{10FFFF}"), [.text("\0\u{10FFFF}")]),
            Talk("two messages in one", ClientBytes.text("a") + ClientBytes.text("b"), [.text("a"), .text("b")]),
            Talk(
                "a message in three fragments",
                ClientBytes.frame(0x02, [1]) + ClientBytes.frame(0x00, [2, 3]) + ClientBytes.frame(0x80, [4]),
                [.binary([1, 2, 3, 4])]
            ),
            Talk(
                "empty fragments",
                ClientBytes.frame(0x01) + ClientBytes.frame(0x00) + ClientBytes.frame(0x80),
                [.text("")]
            ),
            Talk(
                "a character cut by a fragment",
                ClientBytes.frame(0x01, [0xF0, 0x9F]) + ClientBytes.frame(0x00, [0x9C])
                    + ClientBytes.frame(0x80, [0x82]),
                [.text("🜂")]
            ),
            Talk(
                "control frames inside a message",
                ClientBytes.frame(0x01, [0x61]) + ClientBytes.frame(0x89, [9]) + ClientBytes.frame(0x00, [0x62])
                    + ClientBytes.frame(0x8A) + ClientBytes.frame(0x80, [0x63]),
                [.ping([9]), .pong(), .text("abc")]
            ),
            Talk(
                "a close inside a message",
                ClientBytes.frame(0x01, [0x61]) + ClientBytes.close(1001, Array("bye".utf8)),
                [.close(1001, "bye")]
            ),
            Talk(
                "pings of 0 and 125",
                ClientBytes.frame(0x89) + ClientBytes.frame(0x89, pattern(125)),
                [.ping(), .ping(pattern(125))]
            ),
            Talk("an empty close", ClientBytes.frame(0x88), [.close(nil)]),
            Talk("a close with a code", ClientBytes.close(3000), [.close(3000)]),
            Talk("a close with a reason", ClientBytes.close(4999, Array("früh".utf8)), [.close(4999, "früh")]),
            Talk(
                "a close with the longest reason",
                ClientBytes.close(1000, [UInt8](repeating: 0x78, count: 123)),
                [.close(1000, String(repeating: "x", count: 123))]
            ),
            Talk("a mask of zeros", ClientBytes.frame(0x82, pattern(40), key: [0, 0, 0, 0]), [.binary(pattern(40))]),
        ]
        + [125, 126, 127, 200].map { count in
            Talk("a binary of \(count)", ClientBytes.frame(0x82, pattern(count)), [.binary(pattern(count))])
        }
}

@Suite struct MessageReaderTests {
    @Test("Legal bytes are heard as they were meant", arguments: Talk.all)
    func legal(talk: Talk) {
        #expect(transcript(talk.bytes) == talk.heard)
    }

    @Test("A stream split at any byte gives the same transcript", arguments: Talk.all)
    func splitInTwo(talk: Talk) {
        for cut in 0...talk.bytes.count {
            let listener = Listener()
            listener.feed(talk.bytes[..<cut])
            listener.feed(talk.bytes[cut...])
            #expect(listener.heard == talk.heard, "cut at \(cut)")
        }
    }

    @Test("A stream fed in equal pieces gives the same transcript", arguments: Talk.all)
    func splitEvenly(talk: Talk) {
        for step in 1...17 {
            #expect(transcript(talk.bytes, step: step) == talk.heard)
        }
    }

    @Test("The messages that bytes complete are counted by their frames, wherever reading has come to")
    func counted() {
        for talk in Talk.all {
            let messages = talk.heard.count { if case .event(.message) = $0 { true } else { false } }
            for cut in 0...talk.bytes.count {
                let listener = Listener()
                listener.feed(talk.bytes[..<cut])
                let before = listener.heard.count { if case .event(.message) = $0 { true } else { false } }
                listener.buffer.writeBytes(talk.bytes[cut...])
                let rest = listener.reader.messagesCompleted(by: listener.buffer)
                #expect(rest == messages - before, "cut at \(cut)")
            }
        }
        let text = ClientBytes.text("a")
        for rest in [ClientBytes.close(1000) + text, [0x83, 0x80, 0, 0, 0, 0] + text, text.dropLast()] {
            let count = Listener().reader.messagesCompleted(by: ByteBuffer(bytes: text + rest))
            #expect(count == 1)
        }
    }

    @Test("All legal talks behind one another, fed byte by byte, are all heard")
    func allInARow() {
        let talks = Talk.all.filter { !$0.heard.contains { if case .event(.close) = $0 { true } else { false } } }
        let bytes = talks.flatMap(\.bytes)
        #expect(transcript(bytes, step: 1) == talks.flatMap(\.heard))
        #expect(transcript(bytes) == talks.flatMap(\.heard))
    }

    @Test("Payloads around each length form arrive whole", arguments: [65534, 65535, 65536, 65537, 200_000])
    func lengthForms(count: Int) {
        let payload = Talk.pattern(count)
        let bytes = ClientBytes.frame(0x82, payload)
        #expect(transcript(bytes) == [.binary(payload)])
        #expect(transcript(bytes, step: 1009) == [.binary(payload)])
    }

    @Test("Any mask key gives the same payload")
    func maskKeys() {
        let keys: [[UInt8]] = [
            [0, 0, 0, 0], [255, 255, 255, 255], [1, 2, 3, 4], [0x80, 0, 0x7F, 0xFE], [0, 0, 0, 1],
        ]
        for count in 0...80 {
            for key in keys {
                #expect(
                    transcript(ClientBytes.frame(0x82, Talk.pattern(count), key: key)) == [.binary(Talk.pattern(count))]
                )
            }
        }
    }

    @Test("Nothing but a header cut short is left in the buffer")
    func leavesLittle() {
        let listener = Listener()
        for byte in ClientBytes.frame(0x82, Talk.pattern(70_000)) {
            listener.feed([byte])
        }
        #expect(listener.heard == [.binary(Talk.pattern(70_000))])
        #expect(listener.mostLeft == 13)
    }

    @Test("A message that is here whole takes no more memory than its size rounded up by the allocator")
    func exactAllocation() throws {
        var reader = MessageReader(limits: MessageLimits(maxMessageBytes: 1 << 20, maxFragments: 1))
        var buffer = ByteBuffer(bytes: ClientBytes.frame(0x82, Talk.pattern(1024)))
        guard case .message(_, let payload)? = try reader.next(from: &buffer) else {
            Issue.record("no message")
            return
        }
        #expect(payload.capacity == 1024)
    }

    @Test("An event leaves later frames in the buffer for the next call")
    func oneAtATime() throws {
        var reader = MessageReader(limits: MessageLimits(maxMessageBytes: 100, maxFragments: 1))
        let second = ClientBytes.text("b")
        var buffer = ByteBuffer(bytes: ClientBytes.text("a") + second)
        #expect(try reader.next(from: &buffer) == .message(.text, ByteBuffer(string: "a")))
        #expect(buffer.readableBytes == second.count)
        #expect(try reader.next(from: &buffer) == .message(.text, ByteBuffer(string: "b")))
        #expect(try reader.next(from: &buffer) == nil)
    }

    @Test("A message is being assembled from its first header byte to its last byte")
    func assembling() {
        for bytes in [ClientBytes.text("abc"), ClientBytes.frame(0x01, [0x61]) + ClientBytes.frame(0x80, [0x62])] {
            let listener = Listener()
            #expect(!listener.isAssembling)
            for byte in bytes.dropLast() {
                listener.feed([byte])
                #expect(listener.isAssembling)
            }
            listener.feed(bytes.suffix(1))
            #expect(!listener.isAssembling)
            #expect(listener.heard.count == 1)
        }
    }

    @Test("A control frame alone is not a message being assembled, between fragments it doesn't end it")
    func assemblingAndControl() {
        let listener = Listener()
        for byte in ClientBytes.frame(0x89, [1, 2]) {
            listener.feed([byte])
            #expect(!listener.isAssembling)
        }
        listener.feed(ClientBytes.frame(0x01, [0x61]))
        for byte in ClientBytes.frame(0x89, [1, 2]) {
            listener.feed([byte])
            #expect(listener.isAssembling)
        }
        #expect(listener.reader.fragmentsReceived == 1)
        #expect(listener.reader.bytesAssembled == 1)
        listener.feed(ClientBytes.close(1000))
        #expect(!listener.isAssembling)
    }
}
