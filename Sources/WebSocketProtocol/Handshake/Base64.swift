/// The little of base64 (RFC 4648 §4) that the handshake needs.
enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The padded base64 of `bytes`.
    static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((bytes.count + 2) / 3 * 4)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let second = start + 1 < bytes.count ? bytes[start + 1] : 0
            let third = start + 2 < bytes.count ? bytes[start + 2] : 0
            let group = Int(bytes[start]) << 16 | Int(second) << 8 | Int(third)
            text.append(Self.alphabet[group >> 18 & 63])
            text.append(Self.alphabet[group >> 12 & 63])
            text.append(start + 1 < bytes.count ? Self.alphabet[group >> 6 & 63] : UInt8(ascii: "="))
            text.append(start + 2 < bytes.count ? Self.alphabet[group & 63] : UInt8(ascii: "="))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// True when `text` is base64 of exactly 16 bytes: 22 digits and `==`.
    ///
    /// The four bits that the last digit has to spare may be anything, as most decoders have it.
    static func isSixteenBytes(_ text: some Collection<UInt8>) -> Bool {
        guard text.count == 24 else { return false }
        return text.prefix(22).allSatisfy(Self.isDigit) && text.suffix(2).allSatisfy { $0 == UInt8(ascii: "=") }
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
