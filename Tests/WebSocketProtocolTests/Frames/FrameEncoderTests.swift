import NIOCore
import Testing
import WebSocketProtocol

@Suite struct FrameEncoderTests {
    @Test(
        "Headers are as short as they can be",
        arguments: [
            (0, [0x82, 0]), (1, [0x82, 1]), (125, [0x82, 125]), (126, [0x82, 126, 0, 126]), (127, [0x82, 126, 0, 127]),
            (65535, [0x82, 126, 255, 255]), (65536, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (65537, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 1]),
        ] as [(Int, [UInt8])]
    )
    func headers(length: Int, bytes: [UInt8]) {
        var buffer = ByteBuffer()
        FrameEncoder.writeHeader(.binary, payloadLength: length, into: &buffer)
        #expect(buffer == ByteBuffer(bytes: bytes))
        #expect(FrameEncoder.headerLength(payloadLength: length) == bytes.count)
    }

    @Test("Each opcode has its number and the FIN bit", arguments: FrameOpcode.allCases)
    func opcodes(opcode: FrameOpcode) {
        var buffer = ByteBuffer(string: "before")
        FrameEncoder.write(opcode, payload: ByteBuffer(string: "hi"), into: &buffer)
        #expect(buffer == ByteBuffer(bytes: Array("before".utf8) + [0x80 | opcode.rawValue, 2] + Array("hi".utf8)))
    }

    @Test("A frame copies the readable part of its payload only")
    func slice() {
        var payload = ByteBuffer(string: "skipped Hello")
        payload.moveReaderIndex(forwardBy: 8)
        var buffer = ByteBuffer()
        FrameEncoder.write(.text, payload: payload, into: &buffer)
        // The unmasked Hello of RFC 6455 §5.7.
        #expect(buffer == ByteBuffer(bytes: [0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F]))
        #expect(payload.readableBytes == 5)
    }

    @Test("A Close frame carries its code and reason, or nothing")
    func close() {
        func bytes(_ code: CloseCode?, _ reason: String) -> [UInt8] {
            var buffer = ByteBuffer()
            FrameEncoder.writeClose(code, reason: reason, into: &buffer)
            return Array(buffer.readableBytesView)
        }
        #expect(bytes(.normal, "") == [0x88, 2, 0x03, 0xE8])
        #expect(bytes(CloseCode(rawValue: 4000), "bye") == [0x88, 5, 0x0F, 0xA0, 0x62, 0x79, 0x65])
        #expect(bytes(nil, "unheard") == [0x88, 0])
        for code in [.noStatus, .abnormal, CloseCode(rawValue: 1015), CloseCode(rawValue: 0)] as [CloseCode] {
            #expect(bytes(code, "unheard") == [0x88, 0])
        }
    }

    @Test(
        "A reason of up to 123 bytes travels whole, and a longer one not at all",
        arguments: [
            (String(repeating: "x", count: 122), true), (String(repeating: "x", count: 123), true),
            (String(repeating: "x", count: 124), false), (String(repeating: "x", count: 100_000), false),
            (String(repeating: "水", count: 41), true), ("x" + String(repeating: "水", count: 41), false),
            ("a" + String(repeating: "\u{301}", count: 61), true),
            ("a" + String(repeating: "\u{301}", count: 62), false),
        ]
    )
    func reasons(reason: String, travels: Bool) {
        var buffer = ByteBuffer()
        FrameEncoder.writeClose(.normal, reason: reason, into: &buffer)
        let sent = travels ? Array(reason.utf8) : []
        #expect(Array(buffer.readableBytesView) == [0x88, UInt8(2 + sent.count), 0x03, 0xE8] + sent)
    }
}
