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
        "A reason is cut to 123 bytes between two characters",
        arguments: [
            (String(repeating: "x", count: 122), 122), (String(repeating: "x", count: 123), 123),
            (String(repeating: "x", count: 124), 123), (String(repeating: "x", count: 200), 123),
            (String(repeating: "ß", count: 61), 122), (String(repeating: "ß", count: 62), 122),
            (String(repeating: "水", count: 41), 123), (String(repeating: "水", count: 42), 123),
            (String(repeating: "🜂", count: 31), 120), ("x" + String(repeating: "🜂", count: 31), 121),
            ("a" + String(repeating: "\u{301}", count: 100), 123),
        ]
    )
    func reasons(reason: String, length: Int) {
        var buffer = ByteBuffer()
        FrameEncoder.writeClose(.normal, reason: reason, into: &buffer)
        #expect(buffer.readableBytes == 4 + length)
        #expect(buffer.getInteger(at: 1, as: UInt8.self) == UInt8(2 + length))
        let sent = Array(buffer.readableBytesView.dropFirst(4))
        #expect(String(validating: sent, as: UTF8.self).map { reason.utf8.starts(with: $0.utf8) } == true)
    }
}
