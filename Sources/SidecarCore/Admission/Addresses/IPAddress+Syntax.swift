import HTTP1

extension IPAddress {
    /// Reads an address as text, strictly: a dotted quad without leading zeros, or IPv6 (RFC 4291 §2.2) with an
    /// optional zone (RFC 4007 §11), which is dropped: it means nothing beyond its own machine.
    ///
    /// Nil for anything else: brackets, a port, spaces, octal or short IPv4.
    public init?(_ text: some StringProtocol) {
        var copy = String(text)
        guard let address = copy.withUTF8({ Self.read($0.span, 0..<$0.count, zone: true) }) else { return nil }
        self = address
    }

    /// Reads the whole range as an address; `zone` says whether an IPv6 one may have a zone.
    static func read(_ bytes: Span<UInt8>, _ range: Range<Int>, zone: Bool) -> IPAddress? {
        // The family shows within the first five bytes: IPv4 has a dot there, IPv6 a colon.
        var index = range.lowerBound
        while index < range.upperBound, index - range.lowerBound < 5 {
            if bytes[index] == UInt8(ascii: ":") {
                return readIPv6(bytes, zone ? withoutZone(bytes, range) : range)
            }
            if bytes[index] == UInt8(ascii: ".") { break }
            index += 1
        }
        return readIPv4(bytes, range).map { IPAddress(v4: $0) }
    }

    /// The range up to a valid zone; all of it when there is none or a bad one, which then is no address.
    private static func withoutZone(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Range<Int> {
        var mark = range.lowerBound
        while mark < range.upperBound, bytes[mark] != UInt8(ascii: "%") { mark += 1 }
        let length = range.upperBound - mark - 1
        guard length >= 1, length <= longestZone else { return range }
        for index in (mark + 1)..<range.upperBound {
            let byte = bytes[index]
            guard
                HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || byte == UInt8(ascii: ".")
                    || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "~")
            else { return range }
        }
        return range.lowerBound..<mark
    }

    /// Four decimal numbers to 255 without leading zeros, which some readers take for octal.
    private static func readIPv4(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt32? {
        guard range.count >= 7, range.count <= 15 else { return nil }
        var bits: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for index in range {
            let byte = bytes[index]
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                bits = bits << 8 | octet
                octet = 0
                digits = 0
                dots += 1
                continue
            }
            guard HTTPField.isDigit(byte), digits == 0 || octet > 0 else { return nil }
            octet = octet * 10 + UInt32(byte - UInt8(ascii: "0"))
            digits += 1
            guard octet <= 255 else { return nil }
        }
        guard digits > 0, dots == 3 else { return nil }
        return bits << 8 | octet
    }

    private static func readIPv6(_ bytes: Span<UInt8>, _ range: Range<Int>) -> IPAddress? {
        guard range.count >= 2, range.count <= longestIPv6 else { return nil }
        var groups = Groups()
        var index = range.lowerBound
        if bytes[index] == UInt8(ascii: ":") {
            guard bytes[index + 1] == UInt8(ascii: ":") else { return nil }
            groups.markGap()
            index += 2
        }
        while index < range.upperBound {
            let start = index
            var value: UInt16 = 0
            while index < range.upperBound, index - start < 4, let digit = HTTPField.hexValue(bytes[index]) {
                value = value << 4 | UInt16(digit)
                index += 1
            }
            if index < range.upperBound, bytes[index] == UInt8(ascii: ".") {
                // The last 32 bits as a dotted quad end the address.
                guard let quad = readIPv4(bytes, start..<range.upperBound) else { return nil }
                guard groups.append(UInt16(quad >> 16)), groups.append(UInt16(quad & 0xFFFF)) else { return nil }
                return groups.address
            }
            guard index > start, groups.append(value) else { return nil }
            guard index < range.upperBound else { break }
            guard bytes[index] == UInt8(ascii: ":"), index + 1 < range.upperBound else { return nil }
            index += 1
            if bytes[index] == UInt8(ascii: ":") {
                guard groups.markGap() else { return nil }
                index += 1
            }
        }
        return groups.address
    }

    /// The groups read so far: those before `::` shifted into one number, those behind it into another.
    private struct Groups {
        private var head: UInt128 = 0
        private var tail: UInt128 = 0
        private var count = 0
        private var countInTail = 0
        private var hasGap = false

        /// False when there is already one.
        @discardableResult
        mutating func markGap() -> Bool {
            defer { hasGap = true }
            return !hasGap
        }

        /// False when there are already eight.
        mutating func append(_ value: UInt16) -> Bool {
            guard count < 8 else { return false }
            count += 1
            if hasGap {
                tail = tail << 16 | UInt128(value)
                countInTail += 1
            } else {
                head = head << 16 | UInt128(value)
            }
            return true
        }

        /// The address, when the groups are eight or a gap stands for at least one of them.
        var address: IPAddress? {
            guard hasGap ? count < 8 : count == 8 else { return nil }
            // A shift by all 128 bits gives zero, which is what no group before the gap means.
            let all = head << UInt128(16 * (8 - count + countInTail)) | tail
            return IPAddress(high: UInt64(truncatingIfNeeded: all >> 64), low: UInt64(truncatingIfNeeded: all))
        }
    }

    /// `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`.
    private static let longestIPv6 = 45
    /// Longer than any name of an interface.
    private static let longestZone = 32
}
