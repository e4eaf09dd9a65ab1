/// An IPv4 or IPv6 address without port and zone.
///
/// Both families share 16 bytes: IPv4 is held as its IPv4-mapped form (RFC 4291 §2.5.5.2), so `1.2.3.4` and
/// `::ffff:1.2.3.4` are one value, which is IPv4. So peers of a dual-stack socket need no special case.
public struct IPAddress: Sendable, Hashable {
    /// The upper 64 bits in host order.
    let high: UInt64
    /// The lower 64 bits in host order.
    let low: UInt64

    /// Makes an address from the two halves of its 128 bits, in host order; an IPv4-mapped one becomes IPv4.
    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes an IPv4 address from its 32 bits in host order: `0x7F00_0001` is 127.0.0.1.
    public init(v4 bits: UInt32) {
        self.init(high: 0, low: Self.mappedMark | UInt64(bits))
    }

    /// Makes an address from 4 or 16 bytes in network order, as `in_addr` and `in6_addr` hold them; nil for another
    /// count.
    public init?(networkOrder bytes: UnsafeRawBufferPointer) {
        switch bytes.count {
        case 4:
            self.init(v4: UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
        case 16:
            self.init(
                high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            )
        default:
            return nil
        }
    }

    /// 127.0.0.1.
    public static let loopbackV4 = IPAddress(v4: 0x7F00_0001)
    /// ::1.
    public static let loopbackV6 = IPAddress(high: 0, low: 1)

    /// Whether this is IPv4, also when it was written or received as IPv4-mapped IPv6.
    public var isIPv4: Bool { high == 0 && low >> 32 == Self.mappedMark >> 32 }

    /// How many bits an address of this family has: 32 or 128.
    public var bitCount: Int { isIPv4 ? 32 : 128 }

    /// The address with all but its first `bits` bits zero; bits beyond the family's count are as many as it has.
    ///
    /// The family stays: the bits of an IPv4 address are counted within its 32.
    public func prefix(_ bits: Int) -> IPAddress {
        let kept = isIPv4 ? 96 + min(max(bits, 0), 32) : min(max(bits, 0), 128)
        return IPAddress(
            high: high & Self.mask(kept),
            low: low & Self.mask(kept - 64)
        )
    }

    /// The first `bits` of 64 bits set; none below 0, all above 64.
    private static func mask(_ bits: Int) -> UInt64 {
        bits <= 0 ? 0 : bits >= 64 ? .max : ~(.max >> UInt64(bits))
    }

    private static var mappedMark: UInt64 { 0xFFFF_0000_0000 }
}

extension IPAddress: CustomStringConvertible {
    /// The one canonical text of the address: dotted quad, or RFC 5952 in lower case without brackets.
    public var description: String {
        // 39 bytes hold eight groups of four digits and their colons.
        String(unsafeUninitializedCapacity: 40) { bytes in
            var text = AddressText(bytes: bytes)
            if isIPv4 { writeIPv4(to: &text) } else { writeIPv6(to: &text) }
            return text.count
        }
    }

    private func writeIPv4(to text: inout AddressText) {
        for shift in [24, 16, 8, 0] as [UInt64] {
            if shift != 24 { text.append(UInt8(ascii: ".")) }
            text.append(decimal: UInt8(truncatingIfNeeded: low >> shift))
        }
    }

    private func writeIPv6(to text: inout AddressText) {
        let gap = longestZeroRun
        for index in 0..<8 {
            if gap.contains(index) {
                if index == gap.lowerBound { text.append(UInt8(ascii: ":")) }
                if index == gap.upperBound - 1 { text.append(UInt8(ascii: ":")) }
                continue
            }
            if index > 0, gap.isEmpty || index != gap.upperBound { text.append(UInt8(ascii: ":")) }
            text.append(hex: group(index))
        }
    }

    /// One of the eight 16-bit groups, the first at 0.
    private func group(_ index: Int) -> UInt16 {
        let half = index < 4 ? high : low
        return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (index & 3)))
    }

    /// The groups that `::` stands for: the longest run of zeros, the first of equals, never a single one
    /// (RFC 5952 §4.2).
    private var longestZeroRun: Range<Int> {
        var longest = 0..<0
        var start = 0
        for index in 0..<8 {
            if group(index) != 0 {
                start = index + 1
            } else if index + 1 - start > max(longest.count, 1) {
                longest = start..<(index + 1)
            }
        }
        return longest
    }
}

/// Writes an address into the string's own memory, so that nothing else is allocated.
private struct AddressText {
    let bytes: UnsafeMutableBufferPointer<UInt8>
    private(set) var count = 0

    init(bytes: UnsafeMutableBufferPointer<UInt8>) {
        self.bytes = bytes
    }

    mutating func append(_ byte: UInt8) {
        guard count < bytes.count else { return }
        bytes.initializeElement(at: count, to: byte)
        count += 1
    }

    mutating func append(decimal value: UInt8) {
        if value >= 100 { append(UInt8(ascii: "0") + value / 100) }
        if value >= 10 { append(UInt8(ascii: "0") + value / 10 % 10) }
        append(UInt8(ascii: "0") + value % 10)
    }

    mutating func append(hex value: UInt16) {
        var isLeading = true
        for shift in [12, 8, 4, 0] as [UInt16] {
            let digit = UInt8(truncatingIfNeeded: value >> shift) & 15
            if isLeading, digit == 0, shift != 0 { continue }
            isLeading = false
            append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }
}
