import Testing
import WebSocketProtocol

@Suite struct UTF8ValidatorTests {
    static func isValid(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { UTF8Validator.isValid($0) } }
    static func reference(_ bytes: [UInt8]) -> Bool { String(validating: bytes, as: UTF8.self) != nil }

    /// True when `bytes` pass in two pieces.
    static func isValid(_ bytes: [UInt8], cut: Int) -> Bool {
        var validator = UTF8Validator()
        let first = bytes[..<cut].withUnsafeBytes { validator.consume($0) }
        let second = bytes[cut...].withUnsafeBytes { validator.consume($0) }
        #expect(first || !second, "a failure lasts")
        return second && validator.isComplete
    }

    @Test("Every Unicode scalar is valid, also split at each byte")
    func allScalars() {
        for value in UInt32(0)...0x10FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(Character(scalar)).utf8)
            if !Self.isValid(bytes) { Issue.record("\(value)") }
        }
        for value in stride(from: UInt32(0x80), through: 0x10FFFF, by: 251) {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(Character(scalar)).utf8)
            for cut in 0...bytes.count where !Self.isValid(bytes, cut: cut) { Issue.record("\(value) at \(cut)") }
        }
    }

    @Test("Every pair of bytes is judged as the standard library judges it")
    func allPairs() {
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let bytes = [first, second]
                if Self.isValid(bytes) != Self.reference(bytes) { Issue.record("\(bytes)") }
                if Self.isValid(bytes, cut: 1) != Self.reference(bytes) { Issue.record("\(bytes) cut") }
            }
        }
    }

    @Test("Sequences of edge bytes of length 3 and 4 are judged as the standard library judges them")
    func edgeSequences() {
        let edges: [UInt8] = [
            0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
            0xEF,
            0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ]
        let short: [UInt8] = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xF0]
        for first in edges {
            for second in edges {
                for third in short {
                    let three = [first, second, third]
                    if Self.isValid(three) != Self.reference(three) { Issue.record("\(three)") }
                    for fourth in short where first >= 0xE0 {
                        let four = three + [fourth]
                        if Self.isValid(four) != Self.reference(four) { Issue.record("\(four)") }
                    }
                }
            }
        }
    }

    @Test("A bad byte at any offset of a long text is found")
    func longTexts() {
        let clean = Array(String(repeating: "plain text, ", count: 8).utf8)
        #expect(Self.isValid(clean))
        for index in clean.indices {
            var spoiled = clean
            spoiled[index] = 0xFF
            #expect(!Self.isValid(spoiled))
            spoiled[index] = 0x80
            #expect(!Self.isValid(spoiled))
            var mixed = clean
            mixed.replaceSubrange(index..<index, with: Array("水".utf8))
            #expect(Self.isValid(mixed))
        }
    }

    @Test("Random mixtures are judged as the standard library judges them, in one piece and in two")
    func random() {
        var numbers = TestNumbers(seed: 6455)
        let pieces: [[UInt8]] = [
            Array("a".utf8), Array("sixteen letters.".utf8), Array("ß".utf8), Array("水".utf8), Array("🜂".utf8),
            [0xC3], [0xE2, 0x82], [0xF0, 0x9F, 0x9C], [0x80], [0xFF], [0xED, 0xA0, 0x80], [0xC0, 0xAF],
        ]
        for _ in 0..<20_000 {
            // Mostly sound pieces, else nearly nothing would be valid.
            let bytes = (0..<numbers.below(12)).flatMap { _ in
                pieces[numbers.below(10) == 0 ? numbers.below(12) : numbers.below(5)]
            }
            let expected = Self.reference(bytes)
            if Self.isValid(bytes) != expected { Issue.record("\(bytes)") }
            if Self.isValid(bytes, cut: numbers.below(bytes.count + 1)) != expected { Issue.record("\(bytes) cut") }
        }
    }

    @Test(
        "An error is reported at the first byte that makes it certain",
        arguments: [
            ([0xC0], 1), ([0xC1], 1), ([0xF5], 1), ([0x80], 1), ([0xE0, 0x9F], 2), ([0xED, 0xA0], 2),
            ([0xF0, 0x8F], 2),
            ([0xF4, 0x90], 2), ([0xE1, 0x80, 0x41], 3), ([0xF1, 0x80, 0x80, 0xC0], 4),
        ] as [([UInt8], Int)]
    )
    func earliest(bytes: [UInt8], certainAt: Int) {
        var validator = UTF8Validator()
        for (index, byte) in bytes.enumerated() {
            #expect([byte].withUnsafeBytes { validator.consume($0) } == (index + 1 < certainAt))
        }
    }

    @Test("Nothing is complete and valid, and a failure lasts over empty and good pieces")
    func empty() {
        #expect(Self.isValid([]))
        let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
        var validator = UTF8Validator()
        let atFirst = validator.consume(nothing)
        #expect(atFirst && validator.isComplete)
        let afterBad = [0xFF as UInt8].withUnsafeBytes { validator.consume($0) }
        let afterNothing = validator.consume(nothing)
        let afterGood = [0x41 as UInt8].withUnsafeBytes { validator.consume($0) }
        #expect(!afterBad && !afterNothing && !afterGood)
        #expect(!validator.isComplete)
    }
}

/// Numbers that look random and are the same in each run.
struct TestNumbers {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = self.state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    mutating func below(_ bound: Int) -> Int { bound > 0 ? Int(self.next() % UInt64(bound)) : 0 }
}
