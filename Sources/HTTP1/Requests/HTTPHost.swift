/// Checks the value of Host (RFC 9112 §3.2) and the authority of an absolute target.
package enum HTTPHost {
    /// `host[:port]` with a non-empty host, no user part, no list, a port of at most 65535.
    package static func isValid(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        if !range.isEmpty, bytes[index] == UInt8(ascii: "[") {
            index += 1
            while index < range.upperBound, isAddressByte(bytes[index]) { index += 1 }
            guard index > range.lowerBound + 2, index < range.upperBound, bytes[index] == UInt8(ascii: "]") else {
                return false
            }
            index += 1
        } else {
            while index < range.upperBound, isNameByte(bytes[index]) { index += 1 }
            guard index > range.lowerBound else { return false }
        }
        guard index < range.upperBound else { return true }
        guard bytes[index] == UInt8(ascii: ":"), range.upperBound - index <= 6 else { return false }
        var port = 0
        for digit in (index + 1)..<range.upperBound {
            guard HTTPField.isDigit(bytes[digit]) else { return false }
            port = port * 10 + Int(bytes[digit] - UInt8(ascii: "0"))
        }
        return port <= 65535
    }

    /// RFC 3986 §3.2.2 `reg-name` without the comma, which would make a list of it.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        HTTPField.isMember(byte, low: 0x2BFF_6FF2_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }

    /// IPv6 as text, with a dotted end at most: no zone, which means nothing beyond its own machine.
    private static func isAddressByte(_ byte: UInt8) -> Bool {
        HTTPField.hexValue(byte) != nil || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
    }
}
