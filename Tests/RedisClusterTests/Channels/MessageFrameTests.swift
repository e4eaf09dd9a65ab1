import NIOCore
import RedisClient
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Messages as they are published")
struct MessageFrameTests {
    private func envelope(
        _ format: MessageFormat,
        _ payload: [UInt8],
        event: String? = nil,
        excluding: String? = nil
    ) throws -> ChannelEnvelope {
        let channel = try #require(ChannelName("c"))
        let publication = Publication(
            channel: channel,
            format: format,
            payload: ByteBuffer(bytes: payload),
            event: event
        )
        return ChannelEnvelope(publication, excluding: excluding.map(ExcludedConnection.init))
    }

    @Test("A message is read as it was written")
    func roundTrip() throws {
        for envelope in [
            try envelope(.text, []), try envelope(.binary, [0, 10, 255], event: "price", excluding: "me"),
            try envelope(.text, Array(repeating: 0x61, count: 70_000)),
        ] {
            var text = ByteBuffer(string: "1 zz 7 00000000000000ff 00000000000000fe 12\n")
            var body = MessageBody.write(envelope, origin: "node")
            text.writeBuffer(&body)
            let frame = try MessageFrame(text)
            #expect(frame.point == ChannelPoint(epoch: ChannelEpoch(35 * 36 + 35), offset: 7, id: MessageID(255)))
            #expect(frame.predecessor == MessageID(254) && frame.time == 12 && frame.body.origin == "node")
            let read = frame.envelope(in: envelope.publication.channel)
            #expect(read.publication == envelope.publication && read.excluded == envelope.excluded)
            #expect(frame.excludes(StreamCursor.reader("me")) == (envelope.excluded != nil))
            #expect(!frame.excludes(0) && !frame.excludes(StreamCursor.reader("you")))
        }
    }

    @Test("A message that is cut off anywhere is refused")
    func cutOff() throws {
        var text = ByteBuffer(string: "1 zz 7 00000000000000ff 00000000000000fe 12\n")
        var body = MessageBody.write(try envelope(.text, [], event: "price", excluding: "me"), origin: "node")
        text.writeBuffer(&body)
        for length in 0..<text.readableBytes {
            let part = try #require(text.getSlice(at: 0, length: length))
            #expect(throws: FrameFault.self) { try MessageFrame(part) }
        }
    }

    @Test(
        "What is not a message of ours is refused",
        arguments: [
            "", "\n", "2 zz 7 00000000000000ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe -1\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe 9223372036854775807\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz -7 00000000000000ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 +0000000000000ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{0}",
            "1 zzzzzzzzzzzzzzzzzz 7 00000000000000ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe 12\n\u{2}\u{0}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe 12\n\u{0}\u{9}\u{0}\u{0}",
            "1 zz 7 00000000000000ff 00000000000000fe 12\n\u{0}\u{0}\u{0}\u{3}a\nb",
            "1 " + String(repeating: "z", count: 200) + "\n",
        ]
    )
    func refused(text: String) {
        #expect(throws: FrameFault.self) { try MessageFrame(ByteBuffer(string: text)) }
    }

    @Test("Text that is not UTF-8 is refused, and binary of the same bytes is not")
    func encoding() throws {
        for format in [MessageFormat.text, .binary] {
            var text = ByteBuffer(string: "1 zz 7 00000000000000ff 00000000000000fe 12\n")
            var body = MessageBody.write(try envelope(format, [0xC3, 0x28]), origin: "node")
            text.writeBuffer(&body)
            if format == .binary {
                #expect(try MessageFrame(text).body.payload.readableBytes == 2)
            } else {
                #expect(throws: FrameFault.badBody) { try MessageFrame(text) }
            }
        }
    }

    @Test("An answer of another shape is refused")
    func answers() throws {
        let good: [RESPValue] = [
            .integer(1), .bulk(ByteBuffer(string: "head")), .bulk(ByteBuffer(string: "a")),
            .bulk(ByteBuffer(string: "0")), .bulk(ByteBuffer(string: "0000000000000000")), .array([]),
        ]
        #expect(try FollowAnswer(.array(good)).isFirst)
        for index in good.indices {
            for wrong: RESPValue in [.null, .array([.null]), .bulk(ByteBuffer(string: "?")), .map([])] {
                var bad = good
                bad[index] = wrong
                if case .map = wrong, index == 5 { continue }  // no messages
                #expect(throws: AnswerFault.self) { try FollowAnswer(.array(bad)) }
            }
            #expect(throws: AnswerFault.self) { try FollowAnswer(.array(Array(good.prefix(index)))) }
        }
        #expect(throws: AnswerFault.self) { try FollowAnswer(.array(good + [.null])) }
        #expect(throws: AnswerFault.self) { try FollowAnswer(.integer(1)) }
        var part = good
        part[1] = .bulk(ByteBuffer(string: "part"))
        #expect(throws: AnswerFault.self) { try FollowAnswer(.array(part)) }
    }

    @Test("Ids are 16 digits, and nothing else is one")
    func ids() {
        for bits in [0, 1, .max, 0xFEDC_BA98_7654_3210] as [UInt64] {
            let text = MessageID(bits).description
            #expect(text.utf8.count == 16 && MessageID(text) == MessageID(bits))
        }
        for text in ["", "0", "000000000000000g", "+000000000000001", "00000000000000000", "ｆｆｆｆ"] {
            #expect(MessageID(text) == nil)
        }
        #expect(MessageID(0xFEDC_BA98_7654_3210).check == 0xFEDC_BA98)
    }
}
