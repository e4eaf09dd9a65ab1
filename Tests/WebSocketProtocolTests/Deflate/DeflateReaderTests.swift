import NIOCore
import Testing

@testable import WebSocketProtocol

@Suite struct DeflateReaderTests {
    static let binary: UInt8 = 0x42
    static let text: UInt8 = 0x41

    @Test("What zlib compressed elsewhere is inflated to what it was", arguments: DeflateVector.all)
    func vectors(vector: DeflateVector) {
        let bytes = ClientBytes.frame(0xC2, vector.compressed)
        #expect(deflateTranscript(bytes) == [.binary(vector.plain)])
        #expect(deflateTranscript(bytes, deflate: .keepingContext) == [.binary(vector.plain)])
    }

    @Test(
        "A compressed message cut at any byte, by the network or by frames, is the same",
        arguments: DeflateVector.all
    )
    func cuts(vector: DeflateVector) {
        let codecs = DeflateCodecs()
        let count = vector.compressed.count
        for cut in 0...count {
            let bytes =
                ClientBytes.frame(0x42, Array(vector.compressed[..<cut]))
                + ClientBytes.frame(0x80, Array(vector.compressed[cut...]))
            #expect(deflateTranscript(bytes, codecs: codecs) == [.binary(vector.plain)], "cut at \(cut)")
        }
        for size in [1, 2, 3, 7, 100] {
            let bytes = ClientBytes.fragments(0x42, vector.compressed, of: size) + ClientBytes.text("after")
            let heard: [Heard] = [.binary(vector.plain), .text("after")]
            #expect(deflateTranscript(bytes, step: 1, codecs: codecs) == heard, "fragments of \(size)")
            #expect(deflateTranscript(bytes, step: 5, codecs: codecs) == heard, "fragments of \(size)")
        }
        let single = ClientBytes.frame(0xC2, vector.compressed)
        for cut in 0...single.count {
            let listener = Listener(deflate: .plain, codecs: codecs, limits: .forTests)
            listener.feed(single[..<cut])
            listener.feed(single[cut...])
            #expect(listener.heard == [.binary(vector.plain)], "cut at \(cut)")
        }
        #expect(codecs.idleBytes == (count == 0 ? 0 : 39_928))
    }

    @Test("With context takeover each message leans on the ones before", arguments: [0, 1, 2])
    func conversations(index: Int) {
        let (windowBits, messages) = DeflateVector.conversations[index]
        let offer = "permessage-deflate; client_max_window_bits=\(windowBits)"
        let deflate = NegotiatedDeflate.accepting(offer, DeflateSettings(allowContextTakeover: true))
        let bytes = messages.flatMap { ClientBytes.fragments(0x41, $0.compressed, of: 50) }
        let heard = messages.map { Heard.text(String(decoding: $0.plain, as: UTF8.self)) }
        for step in [1, 13, Int.max] {
            #expect(deflateTranscript(bytes, step: step, deflate: deflate) == heard)
        }
        // Without it the second message refers to what is gone.
        #expect(deflateTranscript(bytes).prefix(2) == [heard[0], .violation(.invalidCompressedData)])
    }

    @Test("A window that is smaller than what the client uses is noticed")
    func windowTooSmall() {
        let noise = DeflateVector.noise(1000)
        // The second half repeats bytes that are 1000 before.
        let payload = DeflateBytes.compress(noise + noise)
        #expect(payload.count < 1100)
        let settings = DeflateSettings(allowContextTakeover: true)
        let offer = "permessage-deflate; client_max_window_bits="
        let bytes = ClientBytes.frame(0xC2, DeflateBytes.compress([1, 2, 3])) + ClientBytes.frame(0xC2, payload)
        let wide = NegotiatedDeflate.accepting(offer + "10", settings)
        #expect(deflateTranscript(bytes, deflate: wide).last == .binary(noise + noise))
        #expect(deflateTranscript(bytes).last == .binary(noise + noise))
    }

    @Test("Compressed and plain messages, pings and a close may take turns")
    func turns() {
        let payload = DeflateBytes.compress(DeflateVector.lines(20))
        let half = payload.count / 2
        let bytes =
            ClientBytes.text("plain") + ClientBytes.frame(0xC1, payload)
            + ClientBytes.frame(0x41, Array(payload[..<half])) + ClientBytes.frame(0x89, [1])
            + ClientBytes.frame(0x00) + ClientBytes.frame(0x8A, [2]) + ClientBytes.frame(0x80, Array(payload[half...]))
            + ClientBytes.frame(0x82, [9]) + ClientBytes.close(1000)
        let lines = String(decoding: DeflateVector.lines(20), as: UTF8.self)
        let heard: [Heard] = [
            .text("plain"), .text(lines), .ping([1]), .pong([2]), .text(lines), .binary([9]), .close(1000),
        ]
        for deflate in [NegotiatedDeflate.plain, .keepingContext] {
            for step in [1, 2, 64, Int.max] {
                #expect(deflateTranscript(bytes, step: step, deflate: deflate) == heard)
            }
        }
    }

    @Test(
        "RSV1 belongs on the first frame of a data message and on no other frame",
        arguments: [
            ClientBytes.frame(0x42, [0xF2]) + [0xC0], ClientBytes.frame(0x42, [0xF2]) + [0x40],
            ClientBytes.frame(0x02, [1]) + [0xC0], ClientBytes.frame(0x02, [1]) + [0x40], [0xC8], [0xC9], [0xCA],
            [0xE1], [0xD1], [0xA1], [0x91], [0xF1], [0x61], [0x51],
        ] as [[UInt8]]
    )
    func reservedBits(bytes: [UInt8]) {
        #expect(deflateTranscript(Array(bytes.dropLast())).isEmpty)
        #expect(deflateTranscript(bytes) == [.violation(.reservedBitSet)])
        #expect(deflateTranscript(bytes, step: 1) == [.violation(.reservedBitSet)])
        #expect(ProtocolViolation.reservedBitSet.closeCode == .protocolError)
    }

    @Test("RSV1 on a continuation outside a message, and reserved opcodes, are as wrong as without it")
    func otherOpcodes() {
        #expect(deflateTranscript([0xC0]) == [.violation(.reservedBitSet)])
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] as [UInt8] {
            #expect(deflateTranscript([0xC0 | opcode]) == [.violation(.reservedOpcode)])
        }
    }

    @Test("Without negotiation RSV1 is refused at the first byte")
    func notNegotiated() {
        #expect(transcript([0xC1]) == [.violation(.reservedBitSet)])
        #expect(transcript([0x42]) == [.violation(.reservedBitSet)])
    }

    @Test(
        "Corrupt data closes with 1007",
        arguments: [
            ("a reserved block type", [0x06, 0x00]), ("a stored length that is wrong", [0x00, 5, 0, 0, 0, 1, 2, 3]),
            ("a stored block cut short", [0x00, 0x05, 0x00]), ("a distance too far", [0x63, 0x00, 0x42, 0x00, 0x00]),
            ("a block cut short", Array(DeflateBytes.compress(DeflateVector.lines(9)).dropLast(5))),
            ("a tail that was not removed", DeflateBytes.compress(DeflateVector.lines(9)) + [0, 0, 0xFF, 0xFF]),
            ("garbage behind the end", DeflateBytes.compress(DeflateVector.lines(9)) + [0xFF, 0xFF]),
            ("garbage behind BFINAL", [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0xFF]),
            ("all ones", [UInt8](repeating: 0xFF, count: 10)), ("one byte of a dynamic block", [0x04]),
            ("plain text", Array("{\"hello\":1}".utf8)), ("a final stored block with a rest", [0x01, 0x00]),
        ] as [(String, [UInt8])]
    )
    func corrupt(name: String, payload: [UInt8]) {
        for deflate in [NegotiatedDeflate.plain, .keepingContext] {
            for bytes in [ClientBytes.frame(0xC2, payload), ClientBytes.fragments(0x42, payload, of: 1)] {
                let heard = deflateTranscript(bytes, deflate: deflate)
                #expect(heard == [.violation(.invalidCompressedData)], "\(name)")
                #expect(deflateTranscript(bytes, step: 1, deflate: deflate) == heard, "\(name)")
            }
        }
        #expect(ProtocolViolation.invalidCompressedData.closeCode == .invalidPayload)
    }

    @Test("The examples of RFC 7692 §7.2.3 say Hello")
    func examples() {
        let first: [UInt8] = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]
        let hello = Heard.text("Hello")
        #expect(deflateTranscript(ClientBytes.frame(0xC1, first)) == [hello])
        #expect(
            deflateTranscript(
                ClientBytes.frame(0x41, [0xF2, 0x48, 0xCD])
                    + ClientBytes.frame(0x80, [0xC9, 0xC9, 0x07, 0x00])
            ) == [hello]
        )
        let shared = ClientBytes.frame(0xC1, first) + ClientBytes.frame(0xC1, [0xF2, 0x00, 0x11, 0x00, 0x00])
        #expect(deflateTranscript(shared, deflate: .keepingContext) == [hello, hello])
        let stored: [UInt8] = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]
        #expect(deflateTranscript(ClientBytes.frame(0xC1, stored)) == [hello])
        let final: [UInt8] = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]
        #expect(deflateTranscript(ClientBytes.frame(0xC1, final)) == [hello])
        let twoBlocks: [UInt8] = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]
        #expect(deflateTranscript(ClientBytes.frame(0xC1, twoBlocks)) == [hello])
    }

    @Test("A compressed message without payload is empty, in any number of frames")
    func empty() {
        for payload in [[], [0], [1], [3, 0], [3, 0, 0]] as [[UInt8]] {
            let bytes =
                ClientBytes.frame(0xC1, payload) + ClientBytes.frame(0x41, payload) + ClientBytes.frame(0x00)
                + ClientBytes.frame(0x80) + ClientBytes.frame(0x41) + ClientBytes.frame(0x80, payload)
            for deflate in [NegotiatedDeflate.plain, .keepingContext] {
                let heard = deflateTranscript(bytes, deflate: deflate)
                #expect(heard == [.text(""), .text(""), .text("")])
                #expect(deflateTranscript(bytes, step: 1, deflate: deflate) == heard)
            }
        }
    }

    @Test("Text is checked after inflating")
    func text() {
        func heard(_ plain: [UInt8], _ size: Int) -> [Heard] {
            deflateTranscript(ClientBytes.fragments(0x41, DeflateBytes.compress(plain), of: size))
        }
        let good = Array(String(repeating: "aß水🜂", count: 2000).utf8)
        for size in [1, 1000, Int.max / 2] {
            #expect(heard(good, size) == [.text(String(decoding: good, as: UTF8.self))])
            #expect(heard(good + [0xC0], size) == [.violation(.invalidText)])
            #expect(heard([0xED, 0xA0, 0x80] + good, size) == [.violation(.invalidText)])
            #expect(heard(Array(good.dropLast()), size) == [.violation(.invalidText)])
        }
        // As soon as a slice is here, the end is not waited for.
        let noise = DeflateBytes.stored([0xFF] + DeflateVector.noise(5000))
        #expect(deflateTranscript(ClientBytes.frame(0x41, noise)) == [.violation(.invalidText)])
    }

    @Test("A message is as large as it is, and no more memory is kept for it when it came whole")
    func exactAllocation() throws {
        var reader = MessageReader(limits: .forTests, deflate: .plain, codecs: DeflateCodecs())
        let plain = Array(DeflateVector.lines(100).prefix(3000))
        var buffer = ByteBuffer(bytes: ClientBytes.frame(0xC2, DeflateBytes.compress(plain)))
        guard case .message(_, let payload)? = try reader.next(from: &buffer) else {
            Issue.record("no message")
            return
        }
        #expect(payload == ByteBuffer(bytes: plain))
        #expect(payload.capacity <= 4096)
        #expect(reader.codecBytes == 0)
        #expect(reader.bytesReserved == 0)
    }

    @Test("A message is being assembled until it is inflated, and its bytes are counted inflated")
    func progress() {
        let codecs = DeflateCodecs()
        let listener = Listener(deflate: .plain, codecs: codecs, limits: .forTests)
        let payload = DeflateBytes.stored(DeflateVector.noise(10_000))
        let bytes = ClientBytes.frame(0xC2, payload)
        listener.feed(bytes[..<2000])
        #expect(listener.isAssembling)
        // A slow client makes us hold what it sent and no decompressor.
        #expect(listener.reader.bytesAssembled == 0)
        #expect(listener.reader.bytesReserved == 2048)
        #expect(listener.reader.codecBytes == 0)
        listener.feed(bytes[2000..<5000])
        #expect(listener.reader.bytesAssembled == 4096 - 5)
        #expect(listener.reader.codecBytes == 39_928)
        listener.feed(bytes[5000...])
        #expect(listener.heard == [.binary(DeflateVector.noise(10_000))])
        #expect(!listener.isAssembling)
        #expect(listener.reader.bytesAssembled == 0)
        #expect(listener.reader.bytesReserved == 0)
        #expect(listener.reader.codecBytes == 0)
        #expect(codecs.idleBytes == 39_928)
    }
}

extension MessageLimits {
    static let forTests = MessageLimits(maxMessageBytes: 1 << 20, maxFragments: 1 << 20, maxCompressionRatio: nil)
}
