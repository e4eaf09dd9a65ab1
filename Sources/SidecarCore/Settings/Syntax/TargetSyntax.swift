import HTTP1

/// The text forms of http and https URLs and of request targets.
enum TargetSyntax {
    /// An http or https URL, taken apart.
    struct URL {
        var origin: AppOrigin
        /// Everything after the authority as written; may be empty.
        var rest: Substring
    }

    /// Reads `http://HOST[:PORT]…` or `https://HOST[:PORT]…`.
    static func url(_ text: String) throws(ValueProblem) -> URL {
        guard let separator = text.firstRange(of: "://") else { throw ValueProblem("has no http:// or https://") }
        let tls: Bool
        switch text[..<separator.lowerBound].lowercased() {
        case "http": tls = false
        case "https": tls = true
        default: throw ValueProblem("has a scheme other than http and https")
        }
        let afterScheme = text[separator.upperBound...]
        let authority = afterScheme.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        guard !authority.contains("@") else {
            throw ValueProblem("has a user name or password, which cannot be set here")
        }
        let (host, port) = try HostSyntax.hostAndPort(authority, ports: 1...65535, defaultPort: tls ? 443 : 80)
        return URL(origin: .tcp(host: host, port: port, tls: tls), rest: afterScheme[authority.endIndex...])
    }

    /// Reads a request target in origin form (RFC 9112 §3.2.1): an absolute path and optionally a query.
    static func originForm(_ text: Substring) throws(ValueProblem) -> String {
        guard text.hasPrefix("/"), !text.hasPrefix("//") else {
            throw ValueProblem("has no path that begins with one /")
        }
        guard text.utf8.count <= 4096 else { throw ValueProblem("is longer than 4096 bytes") }
        guard !text.contains("#") else { throw ValueProblem("has a fragment (#), which is never sent") }
        guard text.utf8.allSatisfy({ isPathByte($0) || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "*") }) else {
            throw ValueProblem("has a character that a URL cannot hold; percent-encode it")
        }
        return String(text)
    }

    /// Whether a path may hold `byte` (RFC 3986 §3.3), except `*`, which patterns use.
    static func isPathByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "%"),
            UInt8(ascii: "!"), UInt8(ascii: "$"), UInt8(ascii: "&"), UInt8(ascii: "'"), UInt8(ascii: "("),
            UInt8(ascii: ")"), UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "="),
            UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "/"):
            true
        default:
            HTTPField.isDigit(byte) || HTTPField.isLetter(byte)
        }
    }
}
