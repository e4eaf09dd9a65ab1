/// A block of addresses of one family: an address and how many of its bits count (CIDR, RFC 4632).
public struct IPNetwork: Sendable, Hashable, CustomStringConvertible {
    /// The first address of the block.
    public let address: IPAddress
    /// How many bits are fixed: 0 to 32 for IPv4, 0 to 128 for IPv6.
    public let prefixLength: Int

    /// Makes the block that holds `address`; a length beyond the family's bits means that address alone.
    public init(_ address: IPAddress, prefixLength: Int) {
        self.prefixLength = min(max(prefixLength, 0), address.bitCount)
        self.address = address.prefix(self.prefixLength)
    }

    /// Reads `10.0.0.0/8`, `fd00::/8`, or a single address.
    ///
    /// An IPv4-mapped block such as `::ffff:10.0.0.0/104` is the IPv4 block that it means. Throws when the address is
    /// none, the length is none of its family, or bits beyond the length are set.
    public init(parsing text: some StringProtocol) throws(AdmissionSyntaxFault) {
        let slash = text.firstIndex(of: "/")
        let host = text[..<(slash ?? text.endIndex)]
        guard !host.contains("%"), let address = IPAddress(host) else {
            throw AdmissionSyntaxFault(in: text, "is not an IP address or network such as 10.0.0.0/8 or fd00::/8")
        }
        guard let slash else {
            self.init(address, prefixLength: address.bitCount)
            return
        }
        // A length behind an IPv4 address that is written as IPv6 counts the 96 bits before it too.
        let skipped = address.isIPv4 && host.contains(":") ? 96 : 0
        let digits = text[text.index(after: slash)...]
        guard digits.utf8.count <= 3, digits.utf8.count == 1 || digits.utf8.first != UInt8(ascii: "0"),
            let length = WholeNumber.read(Substring(digits)), length <= address.bitCount + skipped
        else {
            throw AdmissionSyntaxFault(
                in: text,
                "the prefix length must be from \(skipped) to \(address.bitCount + skipped)"
            )
        }
        guard length >= skipped else {
            throw AdmissionSyntaxFault(in: text, "covers more than IPv4; write IPv4 and IPv6 networks apart")
        }
        self.init(address, prefixLength: length - skipped)
        guard self.address == address else {
            throw AdmissionSyntaxFault(in: text, "has bits beyond its prefix length; the network is \(self)")
        }
    }

    /// Whether the address lies in this block; one of the other family never does, not even in `::/0`.
    public func contains(_ other: IPAddress) -> Bool {
        other.isIPv4 == address.isIPv4 && other.prefix(prefixLength) == address
    }

    /// `10.0.0.0/8`; a single address without its length.
    public var description: String {
        prefixLength == address.bitCount ? address.description : "\(address)/\(prefixLength)"
    }
}
