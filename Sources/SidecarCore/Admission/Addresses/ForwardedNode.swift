import HTTP1

/// What one element of a forwarding header calls the sender of the request.
enum ForwardedNode: Equatable {
    case address(IPAddress)
    /// `unix:`, as nginx calls a peer on a Unix socket.
    case unixSocket
    /// `unknown`, an obfuscated name (RFC 7239 §6.3), or garbage: the walk ends there.
    case unidentified

    /// Reads an address that may have a port and brackets: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`.
    static func read(_ bytes: Span<UInt8>, _ range: Range<Int>) -> ForwardedNode {
        if bytes.matches(range, "unix:") { return .unixSocket }
        guard let first = range.first, range.count <= longest else { return .unidentified }
        var host = range
        var rest = range.upperBound..<range.upperBound
        if bytes[first] == UInt8(ascii: "[") {
            guard let end = range.first(where: { bytes[$0] == UInt8(ascii: "]") }) else { return .unidentified }
            host = (first + 1)..<end
            rest = (end + 1)..<range.upperBound
            // Brackets are for IPv6 alone.
            guard host.contains(where: { bytes[$0] == UInt8(ascii: ":") }) else { return .unidentified }
        } else if let colon = onlyColon(bytes, range) {
            host = range.lowerBound..<colon
            rest = colon..<range.upperBound
        }
        guard rest.isEmpty || isPort(bytes, rest), let address = IPAddress.read(bytes, host, zone: true) else {
            return .unidentified
        }
        return .address(address)
    }

    /// The index of the colon if there is exactly one; bare IPv6 has at least two.
    private static func onlyColon(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int? {
        var found: Int?
        for index in range where bytes[index] == UInt8(ascii: ":") {
            if found != nil { return nil }
            found = index
        }
        return found
    }

    /// `:` and a number up to 65535, or an obfuscated port (RFC 7239 §6).
    private static func isPort(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        let digits = (range.lowerBound + 1)..<range.upperBound
        guard bytes[range.lowerBound] == UInt8(ascii: ":"), let first = digits.first else { return false }
        if bytes[first] == UInt8(ascii: "_") {
            return digits.count > 1 && digits.allSatisfy { isObfuscatedByte(bytes[$0]) }
        }
        guard digits.count <= 5 else { return false }
        var port = 0
        for index in digits {
            guard HTTPField.isDigit(bytes[index]) else { return false }
            port = port * 10 + Int(bytes[index] - UInt8(ascii: "0"))
        }
        return port <= 65535
    }

    private static func isObfuscatedByte(_ byte: UInt8) -> Bool {
        HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || byte == UInt8(ascii: "_")
            || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "-")
    }

    /// An address with zone, brackets and port is shorter; longer text is not examined.
    private static let longest = 128
}
