import NIOCore
import Testing

@testable import WebSocketProtocol

@Suite struct DeflateLimitsTests {
    @Test(
        "A message that inflates to the limit passes, one byte more is too big",
        arguments: [0, 1, 2, 100, 4095, 4096, 4097, 16383, 16384, 16385, 32768, 100_000]
    )
    func size(limit: Int) {
        func heard(_ count: Int, _ size: Int) -> [Heard] {
            let payload = DeflateBytes.compress(Talk.pattern(count))
            return deflateTranscript(ClientBytes.fragments(0x42, payload, of: size), maxMessageBytes: limit)
        }
        for size in [17, 10_000] {
            for count in [limit - 1, limit] where count >= 0 {
                #expect(heard(count, size) == [.binary(Talk.pattern(count))])
            }
            #expect(heard(limit + 1, size) == [.violation(.messageTooBig)])
            #expect(heard(limit * 3 + 70_000, size) == [.violation(.messageTooBig)])
        }
    }

    @Test("An incompressible message of the limit passes, however small its stored blocks are")
    func incompressible() {
        let plain = DeflateVector.noise(50_000)
        for size in [400, 1000, 65535] {
            let bytes = ClientBytes.frame(0xC2, DeflateBytes.stored(plain, blocksOf: size))
            #expect(deflateTranscript(bytes, maxMessageBytes: 50_000) == [.binary(plain)])
            #expect(deflateTranscript(bytes, maxMessageBytes: 49_999).count == 1)
        }
    }

    @Test(
        "A compressed length is refused at the header a 64th and 64 bytes past the limit",
        arguments: [0, 640, 65536]
    )
    func wireLength(limit: Int) {
        let allowed = limit + limit / 64 + 64
        let fits = ClientBytes.header(0xC2, length: UInt64(allowed))
        #expect(deflateTranscript(fits, maxMessageBytes: limit).isEmpty)
        let header = Array(ClientBytes.header(0xC2, length: UInt64(allowed) + 1).dropLast(4))
        for step in [1, Int.max] {
            #expect(deflateTranscript(header, step: step, maxMessageBytes: limit) == [.violation(.messageTooBig)])
        }
        // An uncompressed message has its own limit on the same connection.
        let plain = Array(ClientBytes.header(0x82, length: UInt64(limit) + 1).dropLast(4))
        #expect(deflateTranscript(plain, maxMessageBytes: limit) == [.violation(.messageTooBig)])
    }

    @Test("The wire bytes of all fragments count, so empty blocks don't go on for ever")
    func emptyBlocks() {
        let blocks = Array(repeatElement([0x00, 0x00, 0x00, 0xFF, 0xFF] as [UInt8], count: 20).joined())
        let first = ClientBytes.frame(0x42, blocks)
        let more = ClientBytes.frame(0x00, blocks)
        let start = first + more + more
        // 1000 + 15 + 64 on the wire.
        let left = 1079 - 300
        let fits = start + ClientBytes.header(0x00, length: UInt64(left))
        #expect(deflateTranscript(fits, maxMessageBytes: 1000).isEmpty)
        let tooMuch = start + ClientBytes.header(0x00, length: UInt64(left) + 1)
        #expect(deflateTranscript(tooMuch, maxMessageBytes: 1000) == [.violation(.messageTooBig)])
        // The next message starts anew.
        let message = first + ClientBytes.frame(0x80, blocks + [0])
        let many = Array(repeatElement(message, count: 30).joined())
        #expect(deflateTranscript(many, maxMessageBytes: 200) == Array(repeating: .binary([]), count: 30))
    }

    @Test("Fragments are counted as without compression")
    func fragments() {
        let payload = DeflateBytes.compress(DeflateVector.lines(3))
        let size = (payload.count + 2) / 3
        let three = ClientBytes.fragments(0x42, payload, of: size)
        #expect(deflateTranscript(three, maxFragments: 3) == [.binary(DeflateVector.lines(3))])
        #expect(deflateTranscript(three, maxFragments: 2) == [.violation(.tooManyFragments)])
    }

    @Test("Only what a message inflates to beyond its first 256 KiB counts for the ratio", arguments: [1, 7, 50])
    func ratioFree(ratio: Int) {
        // The number of zeros that are exactly as many as their own compressed length allows.
        var most = 256 << 10
        for _ in 0..<10 { most = 256 << 10 + ratio * DeflateBytes.zeros(most).count }
        for (count, isAllowed) in [(most - 1, true), (most, true), (most + 1, false)] {
            let payload = DeflateBytes.zeros(count)
            #expect((count - 256 << 10 <= ratio * payload.count) == isAllowed)
            let heard = deflateTranscript(ClientBytes.frame(0xC2, payload), ratio: ratio)
            let plain = [UInt8](repeating: 0, count: count)
            #expect(heard == [isAllowed ? .binary(plain) : .violation(.compressionRatio)])
        }
        #expect(ProtocolViolation.compressionRatio.closeCode == .tooBig)
    }

    @Test("The first 256 KiB of a message may be as regular as they like")
    func regular() {
        for count in [4097, 57_600, 256 << 10] {
            let bytes = ClientBytes.frame(0xC2, DeflateBytes.zeros(count))
            #expect(deflateTranscript(bytes, ratio: 1) == [.binary([UInt8](repeating: 0, count: count))])
        }
    }

    @Test("A message at the ratio passes, a few bytes less on the wire are refused", arguments: [5, 20, 100])
    func ratio(limit: Int) {
        let plain = [UInt8](repeating: 0, count: 256 << 10 + 60_000)
        let zeros = DeflateBytes.compress(plain)
        // Empty stored blocks in front bring the ratio to where it is wanted, 5 bytes each.
        let blocks = (60_000 / limit - zeros.count + 4) / 5
        func payload(_ blocks: Int) -> [UInt8] {
            Array(repeatElement([0x00, 0x00, 0x00, 0xFF, 0xFF] as [UInt8], count: blocks).joined()) + zeros
        }
        #expect(payload(blocks).count * limit >= 60_000)
        #expect(payload(blocks - 1).count * limit < 60_000)
        let fits = ClientBytes.frame(0xC2, payload(blocks))
        #expect(deflateTranscript(fits, ratio: limit) == [.binary(plain)])
        let less = ClientBytes.frame(0xC2, payload(blocks - 1))
        #expect(deflateTranscript(less, ratio: limit) == [.violation(.compressionRatio)])
        #expect(deflateTranscript(less, ratio: nil) == [.binary(plain)])
    }

    @Test("The verdict on a ratio is the same however the message is cut")
    func ratioAndCuts() {
        // A part that is packed too tightly comes before one that makes up for it, and after it.
        let tight = DeflateBytes.zeros(600_000) + [0, 0, 0xFF, 0xFF]
        let loose = DeflateBytes.stored(DeflateVector.noise(9000))
        let looseThenMore = Array(loose.dropLast()) + DeflateBytes.zeros(600_000)
        for (payload, isRefused) in [(tight + loose, true), (looseThenMore, false)] {
            for size in [1, 300, 4096, 5000, Int.max / 2] {
                let bytes = ClientBytes.fragments(0x42, payload, of: size)
                for step in [1, 1000, Int.max] where size > 1 || step > 1 {
                    let heard = deflateTranscript(bytes, step: step, ratio: 50)
                    #expect((heard == [.violation(.compressionRatio)]) == isRefused)
                    #expect(heard.count == 1)
                }
            }
        }
    }

    /// Feeds a bomb and returns the most that was ever inflated.
    private func defuse(_ bytes: [UInt8], _ limits: MessageLimits, _ step: Int) -> (heard: [Heard], most: Int) {
        let listener = Listener(deflate: .plain, codecs: DeflateCodecs(), limits: limits)
        var most = 0
        var rest = bytes[...]
        while !rest.isEmpty {
            listener.feed(rest.prefix(step))
            rest = rest.dropFirst(step)
            most = max(most, listener.reader.bytesAssembled)
        }
        return (listener.heard, most)
    }

    @Test("1 MB that inflates to 1 GB ends with 1009, whole, fragmented, first or later")
    func bomb() {
        let bomb = DeflateBytes.zeros(1 << 30)
        #expect(bomb.count < 1_100_000)
        let hello = ClientBytes.text("hello")
        for (limits, violation) in [
            (MessageLimits(maxMessageBytes: 10 << 20, maxFragments: 1 << 20), ProtocolViolation.compressionRatio),
            (MessageLimits(maxMessageBytes: 10 << 20, maxFragments: 1 << 20, maxCompressionRatio: nil), .messageTooBig),
        ] {
            for size in [1000, Int.max / 2] {
                let bytes = ClientBytes.fragments(0x41, bomb, of: size)
                for step in [1500, Int.max] {
                    let (heard, most) = self.defuse(bytes, limits, step)
                    #expect(heard == [.violation(violation)])
                    #expect(most <= 10 << 20)
                    #expect(violation.closeCode == .tooBig)
                }
            }
            #expect(
                self.defuse(hello + ClientBytes.frame(0xC1, bomb), limits, .max).heard == [
                    .text("hello"), .violation(violation),
                ]
            )
        }
    }

    @Test("A bomb at the default ratio is stopped in its first slice")
    func bombBlocks() {
        let bomb = DeflateBytes.zeros(8 << 20)
        let limits = MessageLimits(maxMessageBytes: 1 << 30, maxFragments: 10)
        // Up to the first slice nothing is inflated, with it the message is refused.
        let frame = ClientBytes.frame(0x42, bomb)
        let listener = Listener(deflate: .plain, codecs: DeflateCodecs(), limits: limits)
        listener.feed(frame[..<(4095 + 8)])
        #expect(listener.heard.isEmpty)
        #expect(listener.reader.bytesAssembled == 0)
        listener.feed(frame[(4095 + 8)..<(4096 + 8)])
        #expect(listener.heard == [.violation(.compressionRatio)])
    }

    @Test("After a violation the decompressor goes back clean")
    func reuse() {
        let codecs = DeflateCodecs()
        let good = ClientBytes.frame(0xC2, DeflateBytes.compress(DeflateVector.lines(50)))
        let bad: [[UInt8]] = [
            ClientBytes.frame(0xC2, [0x06, 0x00]), ClientBytes.frame(0xC2, [UInt8](repeating: 0xFF, count: 5000)),
            ClientBytes.frame(0xC2, DeflateBytes.zeros(2 << 20)), ClientBytes.frame(0xC1, DeflateBytes.stored([0xFF])),
            ClientBytes.frame(0x42, DeflateBytes.stored(DeflateVector.noise(5000))) + [0xFF],
        ]
        for bytes in bad {
            #expect(deflateTranscript(bytes, codecs: codecs).count == 1)
            #expect(deflateTranscript(good, codecs: codecs) == [.binary(DeflateVector.lines(50))])
        }
        #expect(codecs.idleBytes == 39_928)
    }

    @Test("Ratios out of range are moved into it", arguments: [Int.min, -1, 0, 1])
    func oddRatios(ratio: Int) {
        let bytes = ClientBytes.frame(0xC2, DeflateBytes.stored(DeflateVector.noise(9000)))
        #expect(deflateTranscript(bytes, ratio: ratio) == [.binary(DeflateVector.noise(9000))])
        #expect(deflateTranscript(bytes, maxMessageBytes: .max, ratio: .max) == [.binary(DeflateVector.noise(9000))])
    }
}
