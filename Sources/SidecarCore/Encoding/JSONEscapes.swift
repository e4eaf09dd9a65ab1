/// What is escaped beyond what JSON requires (RFC 8259 §7), and how; DEL is always escaped.
public struct JSONEscapes: OptionSet, Sendable {
    /// Whatever is ``UnsafeText`` is escaped too.
    public static let unsafeText = JSONEscapes(rawValue: 1)
    /// Line ends and tabs are `\n`, `\r` and `\t` instead of `\u` and four digits.
    public static let shortForms = JSONEscapes(rawValue: 2)
    /// Quotation marks are not escaped: for text without quotes around it.
    public static let bareQuotes = JSONEscapes(rawValue: 4)

    /// The bits of the set.
    public let rawValue: UInt8

    /// A set with these bits.
    public init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Calls `body` with the range of each scalar that has to be escaped, in order, and with its escape.
    ///
    /// - Parameter text: Valid UTF-8.
    @inline(__always)
    func forEach(in text: UnsafeRawBufferPointer, _ body: (Range<Int>, JSONEscape) -> Void) {
        var index = nextCandidate(in: text, from: 0)
        while index < text.count {
            let (scalar, byteCount) = Self.scalar(in: text, at: index)
            if let escape = escape(for: scalar) { body(index..<index + byteCount, escape) }
            index = nextCandidate(in: text, from: index + byteCount)
        }
    }

    private func escape(for scalar: Unicode.Scalar) -> JSONEscape? {
        switch scalar {
        case "\"" where contains(.bareQuotes): nil
        case "\"", "\\": .letter(UInt8(truncatingIfNeeded: scalar.value))
        case "\n" where contains(.shortForms): .letter(UInt8(ascii: "n"))
        case "\r" where contains(.shortForms): .letter(UInt8(ascii: "r"))
        case "\t" where contains(.shortForms): .letter(UInt8(ascii: "t"))
        case _ where UnsafeText.mustEscape(scalar): .digits(UInt16(truncatingIfNeeded: scalar.value))
        default: nil
        }
    }

    /// The index of the next scalar that may have to be escaped; examines eight bytes at a time.
    @inline(__always)
    private func nextCandidate(in text: UnsafeRawBufferPointer, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highBits: UInt64 = 0x8080_8080_8080_8080
        /// Sets the high bit of the first zero byte. Bits of later bytes may be set wrongly, those of earlier ones
        /// never.
        func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & highBits }
        let beyondASCII = contains(.unsafeText) ? highBits : 0
        var index = start
        while text.count - index >= 8 {
            let word = UInt64(littleEndian: text.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            let controls = (word &- ones &* 0x20) & ~word & highBits
            let marks = zeros(word ^ ones &* 0x22) | zeros(word ^ ones &* 0x5C) | zeros(word ^ ones &* 0x7F)
            let found = controls | marks | word & beyondASCII
            if found != 0 { return index + found.trailingZeroBitCount / 8 }
            index += 8
        }
        while index < text.count {
            switch text[index] {
            case ..<0x20, UInt8(ascii: "\""), UInt8(ascii: "\\"), 0x7F: return index
            case 0x80...: if beyondASCII != 0 { return index }
            default: break
            }
            index += 1
        }
        return index
    }

    @inline(__always)
    private static func scalar(in text: UnsafeRawBufferPointer, at index: Int) -> (Unicode.Scalar, byteCount: Int) {
        let first = text[index]
        guard first >= 0x80 else { return (Unicode.Scalar(first), 1) }
        let rest = text[(index + 1)...].prefix(3).prefix { $0 & 0xC0 == 0x80 }
        let bits = UInt32(first) & 0x3F >> UInt32(rest.count)
        let value = rest.reduce(bits) { $0 << 6 | UInt32($1 & 0x3F) }
        return (Unicode.Scalar(value) ?? "\u{FFFD}", 1 + rest.count)
    }
}

/// The escape of one scalar.
enum JSONEscape {
    /// A backslash and this letter.
    case letter(UInt8)
    /// `\u` and four digits.
    case digits(UInt16)

    @inline(__always)
    var byteCount: Int {
        switch self {
        case .letter: 2
        case .digits: 6
        }
    }

    @inline(__always)
    func write(with writer: inout TextWriter) {
        writer.write(byteCount: byteCount) { out in
            out[0] = UInt8(ascii: "\\")
            switch self {
            case .letter(let letter): out[1] = letter
            case .digits(let value):
                let hex: StaticString = "0123456789abcdef"
                out[1] = UInt8(ascii: "u")
                for digit in 0..<4 { out[5 - digit] = hex.utf8Start[Int(value >> UInt16(4 * digit) & 15)] }
            }
        }
    }
}
