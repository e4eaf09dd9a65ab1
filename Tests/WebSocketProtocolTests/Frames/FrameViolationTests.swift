import NIOCore
import Testing

@testable import WebSocketProtocol

/// Client bytes that break a rule, and the number of them that suffice to know.
struct ViolationSample: Sendable, CustomTestStringConvertible {
    let name: String
    let bytes: [UInt8]
    let violation: ProtocolViolation
    /// The first of these many bytes must not be refused yet at one less.
    let certainAt: Int
    var testDescription: String { self.name }

    init(_ name: String, _ bytes: [UInt8], _ violation: ProtocolViolation, certainAt: Int) {
        self.name = name
        self.bytes = bytes
        self.violation = violation
        self.certainAt = certainAt
    }

    static let all: [ViolationSample] = firstByte + lengths + controls + order + texts

    static let firstByte: [ViolationSample] =
        [0x91, 0xA1, 0xB1, 0xC1, 0xC2, 0xF1, 0x99, 0xC8, 0xCA].map { byte in
            ViolationSample("reserved bits in \(byte)", ClientBytes.frame(byte, [1]), .reservedBitSet, certainAt: 1)
        }
        + [0x83, 0x84, 0x85, 0x86, 0x87, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x03, 0x0B, 0xC3].map { byte in
            ViolationSample("reserved opcode in \(byte)", ClientBytes.frame(byte, [1]), .reservedOpcode, certainAt: 1)
        }

    static let lengths: [ViolationSample] = [
        ViolationSample("unmasked text", ClientBytes.frame(0x81, [65], key: nil), .unmaskedFrame, certainAt: 2),
        ViolationSample("unmasked ping", ClientBytes.frame(0x89, [], key: nil), .unmaskedFrame, certainAt: 2),
        ViolationSample(
            "5 as 16 bits",
            ClientBytes.frame(0x82, [1, 2, 3, 4, 5], width: .sixteen),
            .nonMinimalLength,
            certainAt: 4
        ),
        ViolationSample(
            "5 as 64 bits",
            ClientBytes.frame(0x82, [1, 2, 3, 4, 5], width: .sixtyFour),
            .nonMinimalLength,
            certainAt: 8
        ),
        ViolationSample("0 as 16 bits", ClientBytes.frame(0x82, [], width: .sixteen), .nonMinimalLength, certainAt: 4),
        ViolationSample(
            "125 as 16 bits",
            ClientBytes.header(0x82, length: 125, width: .sixteen),
            .nonMinimalLength,
            certainAt: 4
        ),
        ViolationSample(
            "126 as 64 bits",
            ClientBytes.header(0x82, length: 126, width: .sixtyFour),
            .nonMinimalLength,
            certainAt: 8
        ),
        ViolationSample(
            "65535 as 64 bits",
            ClientBytes.header(0x82, length: 65535, width: .sixtyFour),
            .nonMinimalLength,
            certainAt: 8
        ),
        ViolationSample("2^63", ClientBytes.header(0x82, length: 1 << 63), .negativeLength, certainAt: 3),
        ViolationSample("2^64 - 1", ClientBytes.header(0x82, length: .max), .negativeLength, certainAt: 3),
        ViolationSample("2^63 - 1", ClientBytes.header(0x82, length: 1 << 63 - 1), .messageTooBig, certainAt: 3),
        ViolationSample("4 GiB", ClientBytes.header(0x82, length: 1 << 32), .messageTooBig, certainAt: 6),
        ViolationSample("1 MiB + 1", ClientBytes.header(0x82, length: 1 << 20 + 1), .messageTooBig, certainAt: 10),
    ]

    static let controls: [ViolationSample] =
        [
            ViolationSample("ping of 126", ClientBytes.header(0x89, length: 126), .controlFrameTooLong, certainAt: 2),
            ViolationSample(
                "pong of 65536",
                ClientBytes.header(0x8A, length: 65536),
                .controlFrameTooLong,
                certainAt: 2
            ),
            ViolationSample("close of 126", ClientBytes.header(0x88, length: 126), .controlFrameTooLong, certainAt: 2),
            ViolationSample(
                "ping of 5 as 16 bits",
                ClientBytes.frame(0x89, [1, 2, 3, 4, 5], width: .sixteen),
                .controlFrameTooLong,
                certainAt: 2
            ),
            ViolationSample("ping without FIN", ClientBytes.frame(0x09), .fragmentedControlFrame, certainAt: 1),
            ViolationSample("pong without FIN", ClientBytes.frame(0x0A), .fragmentedControlFrame, certainAt: 1),
            ViolationSample("close without FIN", ClientBytes.frame(0x08), .fragmentedControlFrame, certainAt: 1),
            ViolationSample("close of 1", ClientBytes.frame(0x88, [3]), .closeBodyTooShort, certainAt: 2),
            ViolationSample("bad reason", ClientBytes.close(1000, [0x61, 0xFF]), .invalidCloseReason, certainAt: 10),
            ViolationSample(
                "reason cut in a character",
                ClientBytes.close(1000, [0xC3]),
                .invalidCloseReason,
                certainAt: 9
            ),
            ViolationSample(
                "reason with a surrogate",
                ClientBytes.close(1000, [0xED, 0xA0, 0x80]),
                .invalidCloseReason,
                certainAt: 11
            ),
        ]
        + ([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] as [UInt16]).map { code in
            ViolationSample("close code \(code)", ClientBytes.close(code), .invalidCloseCode, certainAt: 8)
        }

    static let order: [ViolationSample] = [
        ViolationSample("continuation first", ClientBytes.frame(0x00, [1]), .unexpectedContinuation, certainAt: 1),
        ViolationSample("last continuation first", ClientBytes.frame(0x80), .unexpectedContinuation, certainAt: 1),
        ViolationSample(
            "continuation after a whole message",
            ClientBytes.text("a") + ClientBytes.frame(0x80),
            .unexpectedContinuation,
            certainAt: 8
        ),
        ViolationSample(
            "text in a message",
            ClientBytes.frame(0x01) + ClientBytes.text("a"),
            .messageInterrupted,
            certainAt: 7
        ),
        ViolationSample(
            "binary in a message",
            ClientBytes.frame(0x01) + ClientBytes.frame(0x02),
            .messageInterrupted,
            certainAt: 7
        ),
    ]

    static let texts: [ViolationSample] = [
        ViolationSample(
            "a byte that never occurs",
            ClientBytes.frame(0x81, [0x61, 0xFF, 0x61]),
            .invalidText,
            certainAt: 8
        ),
        ViolationSample("a lone continuation byte", ClientBytes.frame(0x81, [0x80, 0x61]), .invalidText, certainAt: 7),
        ViolationSample("an overlong slash", ClientBytes.frame(0x81, [0xC0, 0xAF]), .invalidText, certainAt: 7),
        ViolationSample(
            "an overlong form of 3",
            ClientBytes.frame(0x81, [0xE0, 0x9F, 0xBF]),
            .invalidText,
            certainAt: 8
        ),
        ViolationSample("a surrogate", ClientBytes.frame(0x81, [0xED, 0xA0, 0x80]), .invalidText, certainAt: 8),
        ViolationSample(
            "past U+10FFFF",
            ClientBytes.frame(0x81, [0xF4, 0x90, 0x80, 0x80]),
            .invalidText,
            certainAt: 8
        ),
        ViolationSample(
            "an unfinished fragment",
            ClientBytes.frame(0x01, [0x61, 0xF5, 0x61]),
            .invalidText,
            certainAt: 8
        ),
        ViolationSample(
            "a message cut in a character",
            ClientBytes.frame(0x81, [0xE2, 0x82]),
            .invalidText,
            certainAt: 8
        ),
        ViolationSample(
            "a character broken by a fragment",
            ClientBytes.frame(0x01, [0xE2]) + ClientBytes.frame(0x00, [0x28]),
            .invalidText,
            certainAt: 14
        ),
        ViolationSample(
            "a fragmented message cut in a character",
            ClientBytes.frame(0x01, [0xE2]) + ClientBytes.frame(0x80, [0x82]),
            .invalidText,
            certainAt: 14
        ),
        ViolationSample(
            "an empty last fragment after half a character",
            ClientBytes.frame(0x01, [0xE2]) + ClientBytes.frame(0x80),
            .invalidText,
            certainAt: 13
        ),
    ]
}

@Suite struct FrameViolationTests {
    @Test("A violation is found at the first byte that makes it certain", arguments: ViolationSample.all)
    func earliest(sample: ViolationSample) {
        let listener = Listener()
        var violations: [ProtocolViolation] = []
        for (index, byte) in sample.bytes.enumerated() {
            listener.feed([byte])
            violations = listener.heard.compactMap { if case .violation(let found) = $0 { found } else { nil } }
            #expect(violations.isEmpty == (index + 1 < sample.certainAt), "at byte \(index + 1)")
        }
        #expect(violations == [sample.violation])
    }

    @Test("A violation gives the same verdict however the bytes are cut", arguments: ViolationSample.all)
    func anyCut(sample: ViolationSample) {
        let whole = transcript(sample.bytes)
        #expect(whole.last == .violation(sample.violation))
        for step in 1...sample.bytes.count {
            #expect(transcript(sample.bytes, step: step) == whole)
        }
    }

    @Test("After a violation everything is consumed and ignored", arguments: ViolationSample.all)
    func deafAfterwards(sample: ViolationSample) {
        let listener = Listener()
        listener.feed(sample.bytes + ClientBytes.text("later"))
        let heard = listener.heard
        #expect(listener.buffer.readableBytes == 0)
        listener.feed(ClientBytes.text("later") + ClientBytes.close(1000))
        #expect(listener.heard == heard)
        #expect(listener.buffer.readableBytes == 0)
        #expect(!listener.isAssembling)
        #expect(listener.reader.bytesAssembled == 0)
    }

    @Test("What came whole before a violation is still heard")
    func earlierMessages() {
        let bytes = ClientBytes.text("one") + ClientBytes.frame(0x89, [1]) + ClientBytes.frame(0x83)
        #expect(transcript(bytes) == [.text("one"), .ping([1]), .violation(.reservedOpcode)])
    }

    @Test("Frames after a Close frame are ignored")
    func afterClose() {
        let listener = Listener()
        listener.feed(ClientBytes.close(1000) + ClientBytes.text("late") + [0xFF, 0xFF])
        listener.feed(ClientBytes.close(4000))
        #expect(listener.heard == [.close(1000)])
        #expect(listener.buffer.readableBytes == 0)
    }

    @Test("Every two bytes that can begin a frame get the same verdict whole and one by one")
    func allFirstPairs() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let bytes = [first, second]
                let heard = transcript(bytes)
                #expect(heard == transcript(bytes, step: 1))
                let isSound =
                    [0x01, 0x02, 0x81, 0x82].contains(first) && second >= 0x80
                    || [0x89, 0x8A].contains(first) && (0x80...0x80 + 125).contains(second)
                    || first == 0x88 && (0x80...0x80 + 125).contains(second) && second != 0x81
                #expect(heard.isEmpty == isSound, "\(first) \(second)")
            }
        }
    }
}
