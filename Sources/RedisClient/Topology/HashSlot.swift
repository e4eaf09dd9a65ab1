/// The slots that a cluster's keys are spread over.
enum HashSlot {
    /// All slots.
    static let all = 0..<16_384

    /// The slot of a key: the CRC16 of its hash tag, or of all of it when it has none.
    static func of(_ key: String) -> Int {
        var key = key
        return key.withUTF8 { of($0.span) }
    }

    /// The slot of a key's bytes.
    static func of(_ key: Span<UInt8>) -> Int {
        Int(crc16(key, hashTag(key))) & 0x3FFF
    }

    /// What is hashed: what stands between the first `{` and the first `}` behind it, unless that is nothing.
    private static func hashTag(_ key: Span<UInt8>) -> Range<Int> {
        let whole = 0..<key.count
        guard let open = first(UInt8(ascii: "{"), in: key, whole) else { return whole }
        guard let close = first(UInt8(ascii: "}"), in: key, open + 1..<key.count), close > open + 1 else {
            return whole
        }
        return open + 1..<close
    }

    private static func first(_ byte: UInt8, in key: Span<UInt8>, _ range: Range<Int>) -> Int? {
        for index in range where key[index] == byte { return index }
        return nil
    }

    /// CRC-16/XMODEM: polynomial 0x1021, nothing reflected, begins with 0.
    static func crc16(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt16 {
        let table = table
        var crc: UInt16 = 0
        for index in range {
            crc = crc << 8 ^ table[Int(UInt8(truncatingIfNeeded: crc >> 8) ^ bytes[index])]
        }
        return crc
    }

    private static let table: [UInt16] = (0..<256).map { index in
        var crc = UInt16(index) << 8
        for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
        return crc
    }
}
