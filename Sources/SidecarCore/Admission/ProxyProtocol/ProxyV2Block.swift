/// The first 16 bytes of version 2, which say how the rest is to be read.
struct ProxyV2Block: Sendable {
    /// Twelve bytes that begin no other protocol.
    static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]

    /// How many bytes follow the first 16.
    let length: Int
    /// How many of these are addresses that we read: 12, 36, or 0 when there are none for us.
    let addressBytes: Int

    /// Reads the bytes so far; nil while they are too few. Each byte is checked as soon as it arrives.
    init?(_ bytes: [UInt8]) throws(ProxyProtocolError) {
        let fixed = bytes.dropFirst(Self.signature.count)
        guard let versionAndCommand = fixed.first else { return nil }
        guard versionAndCommand >> 4 == 2 else { throw .unsupportedVersion }
        guard versionAndCommand & 15 <= 1 else { throw .unknownCommand }
        guard let familyAndProtocol = fixed.dropFirst().first else { return nil }
        // With LOCAL, everything else in the header is ignored.
        let isLocal = versionAndCommand & 15 == 0
        let needed = isLocal ? 0 : try Self.neededBytes(familyAndProtocol)
        guard fixed.count == 4 else { return nil }
        length = fixed.suffix(2).reduce(0) { $0 << 8 | Int($1) }
        guard length >= needed else { throw .addressBlockTooShort }
        guard bytes.count + length <= ProxyProtocolDecoder.longestHeader else { throw .headerTooLong }
        let isTCP = familyAndProtocol == 0x11 || familyAndProtocol == 0x21
        addressBytes = isTCP && !isLocal ? needed : 0
    }

    /// How long the addresses of this family are.
    private static func neededBytes(_ familyAndProtocol: UInt8) throws(ProxyProtocolError) -> Int {
        guard familyAndProtocol & 15 <= 2 else { throw .unknownFamily }
        switch familyAndProtocol >> 4 {
        case 0: return 0
        case 1: return 12
        case 2: return 36
        case 3: return 216
        default: throw .unknownFamily
        }
    }

    /// The header with these addresses: source, destination, and a port of each.
    func header(_ bytes: [UInt8]) -> ProxyHeader {
        let size = (bytes.count - 4) / 2
        guard let source = Self.address(bytes.prefix(size)),
            let destination = Self.address(bytes.dropFirst(size).prefix(size))
        else { return .local }
        let ports = bytes.suffix(4)
        return .proxied(
            source: source,
            sourcePort: ports.prefix(2).reduce(0) { $0 << 8 | UInt16($1) },
            destination: destination,
            destinationPort: ports.suffix(2).reduce(0) { $0 << 8 | UInt16($1) }
        )
    }

    private static func address(_ bytes: ArraySlice<UInt8>) -> IPAddress? {
        bytes.withUnsafeBytes { IPAddress(networkOrder: $0) }
    }
}
