/// The key of a limit per address: 128 bits, whole for IPv4 and cut to a prefix for IPv6.
///
/// Providers assign each customer a whole IPv6 network, so counting single addresses would limit nobody.
public struct RateLimitKey: Sendable, Hashable {
    /// The key's 128 bits; IPv4 is in its IPv4-mapped form, so the families cannot collide.
    public let bits: UInt128

    /// Makes the key of an address; `ipv6PrefixLength` is a number of bits from 0 to 128 and has no effect on IPv4.
    public init(_ address: IPAddress, ipv6PrefixLength: Int) {
        self.init(counted: address.isIPv4 ? address : address.prefix(ipv6PrefixLength))
    }

    /// The shared key of all peers without an address, on a Unix socket.
    ///
    /// It lies in the discard-only block (RFC 6666), from which no packets come.
    public static let withoutAddress = RateLimitKey(counted: IPAddress(high: 0x0100 << 48, low: 1))

    /// The same as a key of a ``RateLimitTable``.
    public var addressKey: AddressKey {
        AddressKey(high: UInt64(truncatingIfNeeded: bits >> 64), low: UInt64(truncatingIfNeeded: bits))
    }

    private init(counted address: IPAddress) {
        bits = UInt128(address.high) << 64 | UInt128(address.low)
    }
}
