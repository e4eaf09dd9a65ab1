import NIOCore

/// Base64 with the standard alphabet (RFC 4648 §4).
enum Base64 {
    /// The bytes that the text stands for; nil unless it has its padding and nothing else beside the alphabet.
    static func decoded(_ text: String) -> ByteBuffer? {
        let symbols = text.utf8
        guard symbols.count % 4 == 0 else { return nil }
        var buffer = ByteBuffer()
        buffer.reserveCapacity(symbols.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        var padding = 0
        for symbol in symbols {
            if symbol == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            guard padding == 0, let value = value(of: symbol) else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 1
            if count % 4 == 0 {
                buffer.writeMultipleIntegers(
                    UInt8(truncatingIfNeeded: bits >> 16),
                    UInt8(truncatingIfNeeded: bits >> 8),
                    UInt8(truncatingIfNeeded: bits)
                )
            }
        }
        switch (count % 4, padding) {
        case (0, 0): break
        case (3, 1):
            buffer.writeMultipleIntegers(UInt8(truncatingIfNeeded: bits >> 10), UInt8(truncatingIfNeeded: bits >> 2))
        case (2, 2): buffer.writeInteger(UInt8(truncatingIfNeeded: bits >> 4))
        default: return nil
        }
        return buffer
    }

    /// Writes the text that stands for the readable bytes, with its padding.
    static func write(_ bytes: ByteBuffer, into buffer: inout ByteBuffer) {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        func symbol(_ bits: UInt32) -> UInt8 { alphabet.utf8Start[Int(bits & 63)] }
        var bytes = bytes
        while let (one, two, three) = bytes.readMultipleIntegers(as: (UInt8, UInt8, UInt8).self) {
            let bits = UInt32(one) << 16 | UInt32(two) << 8 | UInt32(three)
            buffer.writeMultipleIntegers(symbol(bits >> 18), symbol(bits >> 12), symbol(bits >> 6), symbol(bits))
        }
        guard let one = bytes.readInteger(as: UInt8.self) else { return }
        let two = bytes.readInteger(as: UInt8.self)
        let bits = UInt32(one) << 16 | UInt32(two ?? 0) << 8
        let padding = UInt8(ascii: "=")
        let third = two == nil ? padding : symbol(bits >> 6)
        buffer.writeMultipleIntegers(symbol(bits >> 18), symbol(bits >> 12), third, padding)
    }

    private static func value(of symbol: UInt8) -> UInt8? {
        switch symbol {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): symbol - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): symbol - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): symbol - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
