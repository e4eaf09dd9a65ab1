/// The little of base64 (RFC 4648 §4) that the handshake needs.
enum Base64 {
    /// The padded base64 of `bytes`.
    static func encode(_ bytes: UnsafeRawBufferPointer) -> String {
        let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        let digits = alphabet.utf8Start
        let length = (bytes.count + 2) / 3 * 4
        return String(unsafeUninitializedCapacity: length) { text in
            var place = 0
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let second = start + 1 < bytes.count ? bytes[start + 1] : 0
                let third = start + 2 < bytes.count ? bytes[start + 2] : 0
                let group = Int(bytes[start]) << 16 | Int(second) << 8 | Int(third)
                text[place] = digits[group >> 18 & 63]
                text[place + 1] = digits[group >> 12 & 63]
                text[place + 2] = start + 1 < bytes.count ? digits[group >> 6 & 63] : UInt8(ascii: "=")
                text[place + 3] = start + 2 < bytes.count ? digits[group & 63] : UInt8(ascii: "=")
                place += 4
            }
            return place
        }
    }

    /// True when `text` is base64 of exactly 16 bytes: 22 digits and `==`.
    ///
    /// The four bits that the last digit has to spare may be anything, as most decoders have it.
    static func isSixteenBytes(_ text: String) -> Bool {
        guard text.utf8.count == 24 else { return false }
        var text = text
        return text.withUTF8 { bytes in
            for index in 0..<22 where !isDigit(bytes[index]) { return false }
            return bytes[22] == UInt8(ascii: "=") && bytes[23] == UInt8(ascii: "=")
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
            true
        default: false
        }
    }
}
