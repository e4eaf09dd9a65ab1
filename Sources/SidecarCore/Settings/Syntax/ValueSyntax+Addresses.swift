import HTTP1

extension ValueSyntax where Value == [ListenAddress] {
    static let listenAddresses = ValueSyntax(
        accepted: "HOST:PORT, [::]:PORT or unix:/path; comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            var addresses: [ListenAddress] = []
            for item in try listItems(text) {
                let address: ListenAddress
                do throws(ValueProblem) {
                    if item.hasPrefix("unix:") {
                        address = .unix(path: try HostSyntax.socketPath(item.dropFirst(5)))
                    } else {
                        let (host, port) = try HostSyntax.hostAndPort(item, ports: 0...65535)
                        address = .tcp(host: host, port: port)
                    }
                } catch {
                    throw ValueProblem("in \(FaultText.quoted(String(item))): \(error.message)")
                }
                if let other = addresses.first(where: { $0.collides(with: address) }) {
                    throw ValueProblem("has two addresses that collide, \(other) and \(address)")
                }
                addresses.append(address)
            }
            return addresses
        },
        show: { $0.map(\.description).joined(separator: ",") }
    )
}

extension ValueSyntax where Value == [AppOrigin] {
    static let appURLs = ValueSyntax(
        accepted: "http://HOST:PORT, https://HOST:PORT or unix:/path, no path after the port; comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            var origins: [AppOrigin] = []
            let items = try listItems(text)
            for item in items {
                let origin: AppOrigin
                do throws(ValueProblem) {
                    origin = try Self.origin(String(item))
                } catch {
                    throw items.count == 1
                        ? error : ValueProblem("in \(FaultText.quoted(String(item))): \(error.message)")
                }
                guard !origins.contains(origin) else { throw ValueProblem("lists \(origin) twice") }
                origins.append(origin)
            }
            guard origins.count <= 64 else { throw ValueProblem("names more than 64 addresses") }
            return origins
        },
        show: { $0.map(\.description).joined(separator: ",") }
    )

    private static func origin(_ text: String) throws(ValueProblem) -> AppOrigin {
        if text.hasPrefix("unix:") { return .unix(path: try HostSyntax.socketPath(text.dropFirst(5))) }
        let url = try TargetSyntax.url(text)
        // Many people write an origin with a closing slash; it means the same.
        guard url.rest.isEmpty || url.rest == "/" else {
            throw ValueProblem("has a path, query or fragment after the port")
        }
        return url.origin
    }
}

extension ValueSyntax where Value == String {
    /// A path, optionally with a query, as in a request line.
    static let requestPath = ValueSyntax(
        accepted: "a path such as /healthz",
        read: { text throws(ValueProblem) in
            guard text.hasPrefix("/") else { throw ValueProblem("does not begin with a slash") }
            return try TargetSyntax.originForm(text[...])
        },
        show: { $0 }
    )

    /// A path without a query.
    static let servedPath = ValueSyntax(
        accepted: "a path such as /sidesocket.js, without a query",
        read: { text throws(ValueProblem) in
            guard !text.contains("?") else { throw ValueProblem("has a query") }
            return try requestPath.read(text)
        },
        show: { $0 }
    )
}

extension ValueSyntax where Value == WebhookTarget {
    static let webhookURL = ValueSyntax(
        accepted: "a path on the app such as /events, or an http:// or https:// URL",
        read: { text throws(ValueProblem) in
            if text.hasPrefix("/") {
                return WebhookTarget(origin: nil, path: try TargetSyntax.originForm(text[...]))
            }
            if text.hasPrefix("unix:") {
                throw ValueProblem("is a socket; for an app on a socket write the path alone, such as /events")
            }
            let url = try TargetSyntax.url(text)
            let target = url.rest.hasPrefix("/") ? url.rest : "/\(url.rest)"
            return WebhookTarget(origin: url.origin, path: try TargetSyntax.originForm(target))
        },
        show: { $0.description }
    )
}

extension ValueSyntax where Value == [PathPattern] {
    static let pathPatterns = ValueSyntax(
        accepted: "paths such as /ws or /live/* (all below /live/); comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            var patterns: [PathPattern] = []
            for item in try listItems(text) {
                guard let pattern = PathPattern(String(item)) else {
                    throw ValueProblem(
                        "in \(FaultText.quoted(String(item))): is not a path that begins with / and has * only in a final /*"
                    )
                }
                patterns.append(pattern)
            }
            return patterns
        },
        show: { $0.map(\.description).joined(separator: ",") }
    )
}

extension ValueSyntax where Value == [String] {
    /// Names of handshake headers that may be repeated on events; in lower case, each once.
    static let forwardableHeaders = ValueSyntax(
        accepted: "comma-separated header names, or empty for none; not those that Sidesocket sets itself",
        takesList: true,
        takesEmpty: true,
        read: { text throws(ValueProblem) in
            var names: [String] = []
            for item in text.isEmpty ? [] : try listItems(text) {
                let name = item.lowercased()
                guard HTTPField.isToken(name) else {
                    throw ValueProblem("in \(FaultText.quoted(String(item))): is not a header name")
                }
                guard !isOurs(name) else {
                    throw ValueProblem("in \(FaultText.quoted(String(item))): Sidesocket sets or consumes this header")
                }
                if !names.contains(name) { names.append(name) }
            }
            guard names.count <= 64 else { throw ValueProblem("names more than 64 headers") }
            return names
        },
        show: { $0.joined(separator: ",") }
    )

    private static func isOurs(_ name: String) -> Bool {
        // CGI-style apps do not tell `_` from `-`, so a name with `_` could imitate one of ours.
        let name = String(name.map { $0 == "_" ? "-" : $0 })
        let prefixes = ["ce-", "webhook-", "sidesocket-", "x-forwarded-", "proxy-"]
        let names: Set<String> = [
            "forwarded", "x-real-ip", "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding",
            "upgrade", "expect", "content-length", "content-type", "content-encoding", "sec-websocket-key",
            "sec-websocket-version", "sec-websocket-extensions",
        ]
        return names.contains(name) || prefixes.contains { name.hasPrefix($0) }
    }
}

extension ValueSyntax where Value == String {
    /// What a bearer token may consist of (RFC 6750 §2.1), and no more than a header line can hold.
    static let bearerToken = ValueSyntax(
        accepted: "1 to 1024 letters, digits and -._~+/=",
        read: { text throws(ValueProblem) in
            guard text.utf8.count <= 1024 else { throw ValueProblem("is longer than 1024 bytes") }
            let isToken = text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
                    true
                default: false
                }
            }
            guard isToken else { throw ValueProblem("has characters that a token cannot have") }
            return text
        },
        show: { $0 }
    )

    /// A name that is safe in a URI path, a log line and a metric label.
    static let nodeName = ValueSyntax(
        accepted: "1 to 128 letters, digits and . - _ ~ : @",
        read: { text throws(ValueProblem) in
            guard text.utf8.count <= 128 else { throw ValueProblem("is longer than 128 bytes") }
            guard
                text.utf8.allSatisfy({ HTTPField.isDigit($0) || HTTPField.isLetter($0) || ".-_~:@".utf8.contains($0) })
            else {
                throw ValueProblem("has a character that is not allowed")
            }
            return text
        },
        show: { $0 }
    )

    /// The path of a file; whether it exists is checked when it is opened.
    static let filePath = path("the path of a file")
    static let directoryPath = path("the path of a directory")

    private static func path(_ accepted: String) -> ValueSyntax {
        ValueSyntax(
            accepted: accepted,
            read: { text throws(ValueProblem) in
                guard text.utf8.count <= 4095, text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                    throw ValueProblem("is not a path")
                }
                return text
            },
            show: { $0 }
        )
    }
}

/// The items of a list separated by commas, without surrounding spaces.
func listItems(_ text: String) throws(ValueProblem) -> [Substring] {
    let items = text.split(separator: ",", omittingEmptySubsequences: false).map { item in
        var item = item.drop { $0 == " " || $0 == "\t" }
        while item.last == " " || item.last == "\t" { item.removeLast() }
        return item
    }
    guard items.allSatisfy({ !$0.isEmpty }) else { throw ValueProblem("has an empty item between its commas") }
    return items
}
