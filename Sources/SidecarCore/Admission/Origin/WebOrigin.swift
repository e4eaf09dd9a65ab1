import HTTP1

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
        guard let mark = text.utf8.firstIndex(of: UInt8(ascii: ":")), text[mark...].utf8.starts(with: "://".utf8),
            Self.isScheme(text[..<mark])
        else { return nil }
        scheme = text[..<mark].inLowerCase
        let rest = text[text.utf8.index(mark, offsetBy: 3)...]
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
        if text.utf8.first == UInt8(ascii: "[") {
            guard let end = text.utf8.firstIndex(of: UInt8(ascii: "]")) else { return nil }
            let inside = text[text.utf8.index(after: text.startIndex)..<end]
            guard inside.utf8.contains(UInt8(ascii: ":")), !inside.utf8.contains(UInt8(ascii: "%")),
                let address = IPAddress(inside)
            else { return nil }
            // An IPv4-mapped address stays another host than the IPv4 address, as it is for browsers.
            host = address.isIPv4 ? "[::ffff:\(address)]" : "[\(address)]"
            rest = text[text.utf8.index(after: end)...]
        } else {
            let end = text.utf8.firstIndex(of: UInt8(ascii: ":")) ?? text.endIndex
            guard Self.isName(text[..<end]) else { return nil }
            host = text[..<end].inLowerCase
            rest = text[end...]
        }
        if rest.isEmpty {
            port = nil
            return
        }
        guard rest.utf8.first == UInt8(ascii: ":") else { return nil }
        rest = rest[rest.utf8.index(after: rest.startIndex)...]
        guard rest.utf8.count <= 5, rest.utf8.first != UInt8(ascii: "0"),
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

extension Substring {
    /// ASCII in lower case; most of it is already.
    fileprivate var inLowerCase: String {
        let isLower = utf8.allSatisfy { !(UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
        return isLower ? String(self) : lowercased()
    }
}
