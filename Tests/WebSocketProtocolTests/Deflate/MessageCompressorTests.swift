import NIOCore
import Testing

@testable import WebSocketProtocol

@Suite struct MessageCompressorTests {
    static let plains: [[UInt8]] =
        [2, 5, 30, 200, 2000].map(DeflateVector.lines)
        + [10, 300, 70_000, 1_000_000].map { [UInt8](repeating: 0x61, count: $0) }

    @Test("What is compressed is inflated to what it was, with any window", arguments: 9...15)
    func roundTrip(windowBits: Int) throws {
        let codecs = DeflateCodecs()
        for keepsContext in [false, true] {
            let deflate = NegotiatedDeflate.accepting(
                "permessage-deflate; server_max_window_bits=\(windowBits)",
                DeflateSettings(allowContextTakeover: keepsContext)
            )
            var compressor = MessageCompressor(deflate: deflate, codecs: codecs, minimumBytes: 0)
            // The client has no larger window than it asked for.
            var inflater = try Inflater.make(windowBits: windowBits)
            for plain in Self.plains + Self.plains {
                var compressed = ByteBuffer()
                let isShorter = compressor.compress(ByteBuffer(bytes: plain), into: &compressed)
                #expect(isShorter)
                #expect(compressed.readableBytes < plain.count)
                if !keepsContext { inflater.reset() }
                let inflated = DeflateBytes.inflate(compressed, with: &inflater, count: plain.count)
                #expect(inflated == plain)
            }
            #expect(compressor.isStateless != keepsContext)
            #expect((compressor.codecBytes > 0) == keepsContext)
        }
    }

    @Test("With context takeover a message that repeats an earlier one is short")
    func context() {
        let lines = ByteBuffer(bytes: DeflateVector.lines(20))
        func sizes(_ deflate: NegotiatedDeflate) -> [Int] {
            var compressor = MessageCompressor(deflate: deflate, codecs: DeflateCodecs())
            return (0..<2).map { _ in
                var compressed = ByteBuffer()
                let isShorter = compressor.compress(lines, into: &compressed)
                #expect(isShorter)
                return compressed.readableBytes
            }
        }
        let kept = sizes(.keepingContext)
        #expect(kept[1] < kept[0] / 4)
        let pooled = sizes(.plain)
        #expect(pooled[1] == pooled[0])
    }

    @Test("A message that would not get shorter leaves the output as it was")
    func growth() throws {
        for deflate in [NegotiatedDeflate.plain, .keepingContext] {
            var compressor = MessageCompressor(deflate: deflate, codecs: DeflateCodecs())
            var inflater = try Inflater.make(windowBits: 15)
            for plain in [[], [1], [1, 2, 3], DeflateVector.noise(300), DeflateVector.noise(200_000)] as [[UInt8]] {
                var output = ByteBuffer(string: "before")
                let isShorter = compressor.compress(ByteBuffer(bytes: plain), into: &output)
                #expect(!isShorter)
                #expect(output == ByteBuffer(string: "before"))
                // The client never saw it, so the next message must not lean on it.
                output.clear()
                let lines = DeflateVector.lines(9) + plain.prefix(100)
                let isNextShorter = compressor.compress(ByteBuffer(bytes: lines), into: &output)
                #expect(isNextShorter)
                if compressor.isStateless { inflater.reset() }
                #expect(DeflateBytes.inflate(output, with: &inflater, count: lines.count) == lines)
            }
        }
    }

    @Test("Output goes behind what is there, input is read where it begins")
    func slices() throws {
        var payload = ByteBuffer(bytes: Array("skip".utf8) + DeflateVector.lines(9))
        payload.moveReaderIndex(forwardBy: 4)
        var output = ByteBuffer(string: "before")
        var compressor = MessageCompressor(deflate: .plain, codecs: DeflateCodecs())
        let isShorter = compressor.compress(payload, into: &output)
        #expect(isShorter)
        #expect(output.readString(length: 6) == "before")
        var inflater = try Inflater.make(windowBits: 15)
        #expect(DeflateBytes.inflate(output, with: &inflater, count: 10_000) == DeflateVector.lines(9))
    }

    @Test("With a minimum of 0 even what does not get shorter is compressed", arguments: [1, 2, 16, 5_000, 200_000])
    func everyMessage(count: Int) throws {
        var random = SystemRandomNumberGenerator()
        let noise = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        for keepsContext in [false, true] {
            let deflate: NegotiatedDeflate = keepsContext ? .keepingContext : .plain
            var always = MessageCompressor(deflate: deflate, codecs: DeflateCodecs(), minimumBytes: 0)
            var inflater = try Inflater.make(windowBits: 15)
            for _ in 0..<3 {
                var compressed = ByteBuffer()
                let isWritten = always.compress(ByteBuffer(bytes: noise), into: &compressed)
                #expect(isWritten)
                if !keepsContext { inflater.reset() }
                #expect(DeflateBytes.inflate(compressed, with: &inflater, count: count + 16) == noise)
            }
            var choosy = MessageCompressor(deflate: deflate, codecs: DeflateCodecs(), minimumBytes: 1)
            var output = ByteBuffer()
            let isShorter = choosy.compress(ByteBuffer(bytes: noise), into: &output)
            #expect(!isShorter)
            #expect(output.readableBytes == 0)
        }
    }

    @Test("Short messages are not worth it", arguments: [0, 1, 256, 1000])
    func minimum(bytes: Int) {
        let codecs = DeflateCodecs()
        let compressor = MessageCompressor(deflate: .plain, codecs: codecs, minimumBytes: bytes)
        let least = max(bytes, 1)
        let verdicts = [
            compressor.shouldCompress(byteCount: least - 1), compressor.shouldCompress(byteCount: least),
            compressor.shouldCompress(byteCount: least + 1),
        ]
        #expect(verdicts == [false, true, true])
        let usual = MessageCompressor(deflate: .plain, codecs: codecs)
        let usualVerdicts = [usual.shouldCompress(byteCount: 255), usual.shouldCompress(byteCount: 256)]
        #expect(usualVerdicts == [false, true])
    }

    @Test("A frame with a compressed payload has RSV1 set")
    func frame() {
        for (opcode, first) in [(FrameOpcode.text, 0xC1), (.binary, 0xC2)] as [(FrameOpcode, UInt8)] {
            var buffer = ByteBuffer()
            FrameEncoder.write(opcode, payload: ByteBuffer(bytes: [1, 2]), compressed: true, into: &buffer)
            #expect(buffer == ByteBuffer(bytes: [first, 2, 1, 2]))
            buffer.clear()
            FrameEncoder.writeHeader(opcode, payloadLength: 300, compressed: true, into: &buffer)
            #expect(buffer == ByteBuffer(bytes: [first, 126, 1, 44]))
        }
    }

    @Test("What a connection owns is what its codecs were measured to take")
    func owned() {
        let codecs = DeflateCodecs()
        #expect(codecs.idleBytes == 0)
        var kept = MessageCompressor(deflate: .keepingContext, codecs: codecs)
        var output = ByteBuffer()
        #expect(kept.codecBytes == 0)
        let isKeptShorter = kept.compress(ByteBuffer(bytes: DeflateVector.lines(9)), into: &output)
        #expect(isKeptShorter)
        #expect(kept.codecBytes == 38_720)
        #expect(codecs.idleBytes == 0)
        var pooled = MessageCompressor(deflate: .plain, codecs: codecs)
        let isPooledShorter = pooled.compress(ByteBuffer(bytes: DeflateVector.lines(9)), into: &output)
        #expect(isPooledShorter)
        #expect(pooled.codecBytes == 0)
        #expect(codecs.idleBytes == 169_792)
    }
}

extension Inflater {
    struct NoMemory: Error {}

    static func make(windowBits: Int) throws -> Inflater {
        guard let inflater = Inflater(windowBits: windowBits) else { throw NoMemory() }
        return inflater
    }
}
