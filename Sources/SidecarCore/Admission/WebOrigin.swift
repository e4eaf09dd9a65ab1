/// A host with an optional port as it stands in `Host` and behind the scheme of an origin.
struct OriginAuthority: Equatable {
    /// In lower case; IPv6 in brackets and canonical.
    let host: String
    /// Nil when none is written.
    let port: Int?

    /// Reads `host`, `host:port`, `[IPv6]` or `[IPv6]:port`, the whole text.
    ///
    /// Nil for anything that no browser writes there: a user part, a path, a trailing dot, an empty label, a percent
    /// sign, a zone, a port with a leading zero or above 65535.
    init?(_ text: Substring) {
        var rest: Substring
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return nil }
            let inside = text[text.index(after: text.startIndex)..<end]
            guard inside.contains(":"), !inside.contains("%"), let address = IPAddress(inside) else { return nil }
            // An IPv4-mapped address stays another host than the IPv4 address, as it is for browsers.
            host = address.isIPv4 ? "[::ffff:\(address)]" : "[\(address)]"
            rest = text[text.index(after: end)...]
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            guard Self.isName(text[..<end]) else { return nil }
            host = text[..<end].lowercased()
            rest = text[end...]
        }
        if rest.isEmpty {
            port = nil
            return
        }
        guard rest.removeFirst() == ":", rest.utf8.count <= 5, rest.utf8.first != UInt8(ascii: "0"),
            let number = WholeNumber.read(rest), (1...65535).contains(number)
        else { return nil }
        port = number
    }

    /// Labels of letters, digits, `-` and `_`, none of them empty: names that DNS and browsers know, and IPv4.
    static func isName(_ text: Substring) -> Bool {
        guard text.utf8.count <= 253 else { return false }
        var lastWasDot = true
        for byte in text.utf8 {
            if byte == UInt8(ascii: ".") {
                guard !lastWasDot else { return false }
                lastWasDot = true
                continue
            }
            guard
                HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || byte == UInt8(ascii: "-")
                    || byte == UInt8(ascii: "_")
            else { return false }
            lastWasDot = false
        }
        return !lastWasDot
    }
}

/// An origin in its one normal form: scheme, host and port, so that equal origins are equal values.
struct WebOrigin: Sendable, Hashable {
    /// In lower case.
    let scheme: String
    /// In lower case; IPv6 in brackets and canonical; may be empty for schemes of apps, `file://`.
    let host: String
    /// The port in use, also when it is not written because it is the scheme's own; 0 for schemes that have none.
    let port: Int

    /// Reads the serialization of an origin (RFC 6454 §6.2), `scheme://host[:port]`, the whole text, in any case.
    ///
    /// Nil for anything else, so `null` and lists of origins too.
    init?(_ text: Substring) {
        guard let mark = text.firstRange(of: "://"), Self.isScheme(text[..<mark.lowerBound]) else { return nil }
        scheme = text[..<mark.lowerBound].lowercased()
        let rest = text[mark.upperBound...]
        let ownPort = Self.ownPort(of: scheme)
        if rest.isEmpty, ownPort == nil {
            host = ""
            port = 0
            return
        }
        guard let authority = OriginAuthority(rest) else { return nil }
        host = authority.host
        port = authority.port ?? ownPort ?? 0
    }

    /// Whether the host was written without a port, or with the scheme's own, which means the same.
    var hasOwnPort: Bool { port == (Self.ownPort(of: scheme) ?? 0) }

    static func ownPort(of scheme: String) -> Int? {
        switch scheme {
        case "http", "ws": 80
        case "https", "wss": 443
        default: nil
        }
    }

    /// RFC 3986 §3.1.
    static func isScheme(_ text: Substring) -> Bool {
        guard let first = text.utf8.first, HTTPField.isLetter(first) else { return false }
        return text.utf8.allSatisfy {
            HTTPField.isLetter($0) || HTTPField.isDigit($0) || $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-")
                || $0 == UInt8(ascii: ".")
        }
    }
}
