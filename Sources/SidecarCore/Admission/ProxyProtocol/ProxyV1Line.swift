import HTTP1

/// The text line of version 1.
enum ProxyV1Line {
    /// `PROXY `.
    static let signature = Array("PROXY ".utf8)

    /// Reads a whole line, CRLF left out.
    ///
    /// `PROXY UNKNOWN` may be followed by anything, which is ignored. Otherwise all fields are divided by single
    /// spaces, the addresses are of the family that is named, and the numbers have no leading zeros.
    static func header(_ line: ArraySlice<UInt8>) throws(ProxyProtocolError) -> ProxyHeader {
        let fields = line.dropFirst(signature.count)
            .split(separator: UInt8(ascii: " "), maxSplits: 5, omittingEmptySubsequences: false)
        guard let family = fields.first else { throw .invalidLine }
        if family.elementsEqual("UNKNOWN".utf8) { return .local }
        let isIPv4 = family.elementsEqual("TCP4".utf8)
        guard isIPv4 || family.elementsEqual("TCP6".utf8), fields.count == 5,
            let source = address(fields[1], isIPv4: isIPv4), let destination = address(fields[2], isIPv4: isIPv4),
            let sourcePort = port(fields[3]), let destinationPort = port(fields[4])
        else { throw .invalidLine }
        return .proxied(
            source: source,
            sourcePort: sourcePort,
            destination: destination,
            destinationPort: destinationPort
        )
    }

    /// An IPv4-mapped address is written as IPv6, so the family is told by the colon.
    private static func address(_ field: ArraySlice<UInt8>, isIPv4: Bool) -> IPAddress? {
        guard field.contains(UInt8(ascii: ":")) != isIPv4 else { return nil }
        let bytes = Array(field)
        return IPAddress.read(bytes.span, 0..<bytes.count, zone: false)
    }

    private static func port(_ field: ArraySlice<UInt8>) -> UInt16? {
        guard (1...5).contains(field.count), field.count == 1 || field.first != UInt8(ascii: "0") else { return nil }
        var port = 0
        for byte in field {
            guard HTTPField.isDigit(byte) else { return nil }
            port = port * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return UInt16(exactly: port)
    }
}
