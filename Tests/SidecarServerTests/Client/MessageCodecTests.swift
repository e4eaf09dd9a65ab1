import NIOCore
import SidecarCore
import Testing
import WebSocketProtocol

@testable import SidecarServer

@Suite("One message, encoded once for all with the same codec")
struct MessageCodecTests {
    private let text = ByteBuffer(string: String(repeating: "abc ", count: 100))

    private func deflate(_ offer: String, takeover: Bool = false) throws -> NegotiatedDeflate {
        let settings = DeflateSettings(allowContextTakeover: takeover)
        return try #require(NegotiatedDeflate(offers: [offer], settings: settings))
    }

    private func codec(_ deflate: NegotiatedDeflate?) -> RawFrames {
        RawFrames(deflate.map { MessageCompressor(deflate: $0, codecs: DeflateCodecs()) })
    }

    @Test("A raw frame is the payload behind its header", arguments: [MessageFormat.text, .binary])
    func rawFrame(format: MessageFormat) {
        let message = PreparedMessage(format, text)
        var expected = ByteBuffer()
        FrameEncoder.write(format == .text ? .text : .binary, payload: text, into: &expected)
        #expect(message.encoded(by: .rawFrames) == expected)
    }

    @Test("An event is the text with its type")
    func event() {
        let message = PreparedMessage(.text, ByteBuffer(string: "1"), event: "price")
        let expected = ByteBuffer(string: "event: price\ndata: 1\n\n")
        #expect(message.encoded(by: .eventStream) == expected)
        #expect(message.encoded(by: .eventStream) == expected)
    }

    @Test("Each window is compressed for once, also where that does not pay")
    func once() {
        let message = PreparedMessage(.text, text)
        var made: [Int] = []
        for _ in 0..<3 {
            for window in [9, 12, 15] {
                let frame = message.compressed(by: .rawFrames, windowBits: window) {
                    made.append(window)
                    return window == 15 ? nil : ByteBuffer(integer: window)
                }
                #expect(frame == (window == 15 ? nil : ByteBuffer(integer: window)))
            }
        }
        #expect(made == [9, 12, 15])
        let plain = message.encoded(by: .rawFrames)
        #expect(plain.readableBytes == text.readableBytes + 4)
    }

    @Test("Those who agreed on the same get the same bytes")
    func shared() throws {
        let agreed = try deflate("permessage-deflate; server_no_context_takeover")
        let message = PreparedMessage(.text, text)
        var scratch = ByteBuffer()
        var first = codec(agreed)
        var second = codec(agreed)
        var plain = codec(nil)
        let one = first.message(message, in: nil, by: .rawFrames, mayBeDropped: false, &scratch).header
        let two = second.message(message, in: nil, by: .rawFrames, mayBeDropped: true, &scratch).header
        let three = plain.message(message, in: nil, by: .rawFrames, mayBeDropped: false, &scratch).header
        #expect(one == two)
        #expect(one.readableBytes < text.readableBytes / 4)
        #expect(one.getInteger(at: 0, as: UInt8.self) == 0xC1)
        #expect(three == message.encoded(by: .rawFrames))
    }

    @Test("With context takeover a message that may be dropped goes out as it is")
    func takeover() throws {
        let agreed = try deflate("permessage-deflate", takeover: true)
        try #require(!agreed.serverNoContextTakeover)
        let message = PreparedMessage(.text, text)
        var scratch = ByteBuffer()
        var codec = codec(agreed)
        let sent = codec.message(message, in: nil, by: .rawFrames, mayBeDropped: false, &scratch).header
        let waiting = codec.message(message, in: nil, by: .rawFrames, mayBeDropped: true, &scratch).header
        #expect(sent.getInteger(at: 0, as: UInt8.self) == 0xC1)
        #expect(waiting == message.encoded(by: .rawFrames))
    }

    @Test("A large payload stands beside its header", arguments: [4095, 4096, 4097])
    func large(byteCount: Int) {
        let payload = ByteBuffer(repeating: 7, count: byteCount)
        var scratch = ByteBuffer()
        var codec = codec(nil)
        let frame = codec.frame(.binary, payload, mayBeDropped: false, &scratch)
        let message = frame.message
        #expect(frame.isSmall == (byteCount <= 4096))
        #expect((message.payload == nil) == frame.isSmall)
        var whole = message.header
        if let rest = message.payload { whole.writeImmutableBuffer(rest) }
        #expect(whole == PreparedMessage(.binary, payload).encoded(by: .rawFrames))
    }

    @Test("An event with a position has its own id before what all get")
    func position() {
        let text = EventStreamCodec.encode(.text, ByteBuffer(string: "1"))
        let cursor = StreamCursor(epoch: 1, sequence: 2, reader: StreamCursor.reader("x"))
        let message = EventStreamCodec.message(text, at: cursor)
        var id = ByteBuffer()
        EventStreamText.writeID(cursor, into: &id)
        #expect(message.header == id)
        #expect(message.payload == text)
        let without = EventStreamCodec.message(text, at: nil)
        #expect(without.header == text)
        #expect(without.payload == nil)
    }
}
