import HTTP1

/// The text forms of hosts, ports and socket paths.
enum HostSyntax {
    /// The longest path that fits in a Linux `sockaddr_un` with its closing zero byte.
    static let longestSocketPath = 107

    /// Reads `HOST:PORT` or `[IPV6]:PORT`; without a port, `defaultPort` if there is one.
    static func hostAndPort(
        _ text: Substring,
        ports: ClosedRange<Int>,
        defaultPort: Int? = nil
    ) throws(ValueProblem) -> (host: String, port: Int) {
        let host: Substring
        let rest: Substring
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { throw ValueProblem("has no ] after its IPv6 address") }
            host = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            guard isIPv6(host) else { throw ValueProblem("has no valid IPv6 address between [ and ]") }
        } else {
            let colon = text.firstIndex(of: ":") ?? text.endIndex
            host = text[..<colon]
            rest = text[colon...]
            guard rest.lastIndex(of: ":") == (rest.isEmpty ? nil : colon) else {
                throw ValueProblem("has more than one colon; an IPv6 address is written in brackets, [::1]:8080")
            }
            guard !host.isEmpty else { throw ValueProblem("has no host") }
            guard isHost(host) else { throw ValueProblem("has no valid host name or IP address") }
        }
        return (host.lowercased(), try port(rest, ports: ports, defaultPort: defaultPort))
    }

    private static func port(
        _ text: Substring,
        ports: ClosedRange<Int>,
        defaultPort: Int?
    ) throws(ValueProblem) -> Int {
        if text.isEmpty {
            guard let defaultPort else { throw ValueProblem("has no port") }
            return defaultPort
        }
        let digits = text.dropFirst()
        guard text.first == ":", digits.count <= 5, let number = WholeNumber.read(digits), ports.contains(number)
        else {
            throw ValueProblem("has no port from \(ports.lowerBound) to \(ports.upperBound)")
        }
        return number
    }

    /// Reads the absolute path after `unix:`; `unix:///run/app.sock` is accepted too, as other tools write it.
    static func socketPath(_ text: Substring) throws(ValueProblem) -> String {
        let path = text.hasPrefix("///") ? text.dropFirst(2) : text
        guard path.first == "/", path.utf8.count > 1, !path.hasPrefix("//") else {
            throw ValueProblem("has no absolute path after unix:")
        }
        guard path.utf8.count <= longestSocketPath else {
            throw ValueProblem("has a socket path above \(longestSocketPath) bytes, the most the system takes")
        }
        guard path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw ValueProblem("has a control character in its path")
        }
        return String(path)
    }

    /// An IPv6 address in brackets, any other host as it is.
    static func bracketed(_ host: String) -> String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
    }

    /// Whether `text` is a host name (RFC 1123, and `_` as container tools make them) or an IPv4 address.
    static func isHost(_ text: Substring) -> Bool {
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 253, let last = labels.last else { return false }
        // Resolvers take a name that ends in a number for an address, so it has to be a valid one.
        if last.utf8.allSatisfy(HTTPField.isDigit) { return isIPv4(text) }
        return labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                && label.utf8.allSatisfy {
                    HTTPField.isDigit($0) || HTTPField.isLetter($0) || $0 == 0x2D || $0 == 0x5F
                }
        }
    }

    /// Whether `text` is four decimal numbers to 255 without leading zeros.
    static func isIPv4(_ text: some StringProtocol) -> Bool {
        !text.utf8.contains(UInt8(ascii: ":")) && IPAddress(text) != nil
    }

    /// Whether `text` is an IPv6 address (RFC 4291 §2.2), without zone.
    static func isIPv6(_ text: some StringProtocol) -> Bool {
        text.utf8.contains(UInt8(ascii: ":")) && !text.utf8.contains(UInt8(ascii: "%")) && IPAddress(text) != nil
    }
}

/// Whole decimal numbers, digits only: no sign, no separators.
enum WholeNumber {
    /// The number that `text` writes; nil when it is none or does not fit.
    static func read(_ text: Substring) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy(HTTPField.isDigit) else { return nil }
        return Int(text)
    }
}
