import HTTP1

/// The text form of a Redis URL, in `CLUSTER_URL` and in the items of `INGEST_URL`.
///
/// No problem quotes what was written, since any part may turn out to hold the password.
enum EngineURLSyntax {
    /// The longest URL, in bytes.
    static let longest = 8192
    /// The most hosts of one URL.
    static let mostHosts = 64

    private enum Kind {
        case standalone, sentinel, cluster

        var defaultPort: Int { self == .sentinel ? 26379 : 6379 }
    }

    /// Reads `SCHEME://[USER:PASSWORD@]HOSTS[/PATH][?PARAMETERS]`.
    ///
    /// - Parameter parameters: Names of parameters that are allowed besides those of ``EngineURL``.
    /// - Returns: The URL, and the values of those other parameters.
    static func read(
        _ text: Substring,
        parameters: Set<String> = []
    ) throws(ValueProblem) -> (url: EngineURL, others: [String: String]) {
        guard text.utf8.count <= longest else { throw ValueProblem("is longer than \(longest) bytes") }
        guard let separator = text.firstRange(of: "://") else { throw ValueProblem("has no redis:// at its beginning") }
        let (kind, isEncrypted) = try scheme(text[..<separator.lowerBound])
        let rest = text[separator.upperBound...]
        guard rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw ValueProblem("has a space or another character that a URL cannot hold; percent-encode it")
        }
        guard !rest.contains("#") else { throw ValueProblem("has a #; write %23 for it") }

        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let path = rest[authority.endIndex...].prefix { $0 != "?" }
        let query = rest[path.endIndex...]
        guard !path.contains("@"), !query.contains("@") else {
            throw ValueProblem("has an @ after its first / or ?; in a password write %2F for / and %3F for ?")
        }
        let (user, password, hostList) = try credentials(authority)
        let hosts = try hosts(hostList, of: kind)
        let (topology, database) = try topology(path, of: kind)
        var values = try values(query, known: parameters.union(["ca", "cert", "key"]))
        let files = try files(takenFrom: &values, isEncrypted: isEncrypted)
        let url = EngineURL(
            topology: topology,
            hosts: hosts,
            user: user,
            password: password,
            database: database,
            isEncrypted: isEncrypted,
            caFile: files.authorities,
            certificateFile: files.certificate,
            keyFile: files.key
        )
        return (url, values)
    }

    /// `text` percent-encoded, except for the bytes in `kept` and those that have no meaning in any URL.
    static func encoded(_ text: String, keeping kept: String = "") -> String {
        let hex = Array("0123456789ABCDEF")
        return text.utf8.reduce(into: "") { result, byte in
            if HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || "-._~\(kept)".utf8.contains(byte) {
                result.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                result += "%\(hex[Int(byte >> 4)])\(hex[Int(byte & 15)])"
            }
        }
    }

    private static func scheme(_ text: Substring) throws(ValueProblem) -> (kind: Kind, isEncrypted: Bool) {
        switch text.lowercased() {
        case "redis": return (.standalone, false)
        case "rediss": return (.standalone, true)
        case "redis+sentinel": return (.sentinel, false)
        case "rediss+sentinel": return (.sentinel, true)
        case "redis+cluster": return (.cluster, false)
        case "rediss+cluster": return (.cluster, true)
        case "nats", "tls": throw ValueProblem("is a URL of NATS; NATS is not supported by this version")
        default:
            throw ValueProblem(
                "has a scheme other than redis://, redis+sentinel://, redis+cluster://, and rediss for TLS"
            )
        }
    }

    private static func credentials(
        _ authority: Substring
    ) throws(ValueProblem) -> (user: String?, password: String?, hosts: Substring) {
        let parts = authority.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count <= 2 else { throw ValueProblem("has more than one @; in a password write %40 for it") }
        guard parts.count == 2, let login = parts.first, let hosts = parts.last else { return (nil, nil, authority) }
        // Some clients take a text without colon for a user, others for a password.
        guard let colon = login.firstIndex(of: ":") else {
            throw ValueProblem("has no colon before its @; write USER:PASSWORD@, or :PASSWORD@ for the default user")
        }
        let user = try decoded(login[..<colon])
        let password = try decoded(login[login.index(after: colon)...])
        guard !password.isEmpty else { throw ValueProblem("has an empty password") }
        return (user.isEmpty ? nil : user, password, hosts)
    }

    private static func hosts(_ text: Substring, of kind: Kind) throws(ValueProblem) -> [EngineURL.Host] {
        let items = text.split(separator: ",", omittingEmptySubsequences: false)
        guard kind != .standalone || items.count == 1 else {
            throw ValueProblem("has several hosts; write redis+sentinel:// or redis+cluster:// for what they are")
        }
        guard items.count <= mostHosts else { throw ValueProblem("has more than \(mostHosts) hosts") }
        var hosts: [EngineURL.Host] = []
        for item in items {
            let (name, port) = try HostSyntax.hostAndPort(item, ports: 1...65535, defaultPort: kind.defaultPort)
            let host = EngineURL.Host(host: name, port: port)
            guard !hosts.contains(host) else { throw ValueProblem("has the same host twice") }
            hosts.append(host)
        }
        return hosts
    }

    private static func topology(
        _ path: Substring,
        of kind: Kind
    ) throws(ValueProblem) -> (topology: EngineURL.Topology, database: Int) {
        var segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        // Many people end a URL with a slash; it means the same.
        if segments.last == "" { segments.removeLast() }
        switch kind {
        case .standalone:
            guard segments.count <= 1 else { throw ValueProblem("has more than the number of a database in its path") }
            return (.standalone, try database(segments.first))
        case .sentinel:
            guard let name = segments.popFirst() else {
                throw ValueProblem("has no name of the service that the Sentinels watch, such as /mymaster")
            }
            guard segments.count <= 1 else {
                throw ValueProblem("has more than a service and the number of a database in its path")
            }
            let service = try decoded(name)
            guard isPrintable(service, upTo: 200) else {
                throw ValueProblem("has a service that is not 1 to 200 printable ASCII characters without spaces")
            }
            return (.sentinel(service: service), try database(segments.first))
        case .cluster:
            guard segments.isEmpty else {
                throw ValueProblem("has a path; a Redis Cluster has one database only, and no name")
            }
            return (.cluster, 0)
        }
    }

    private static func database(_ text: Substring?) throws(ValueProblem) -> Int {
        guard let text else { return 0 }
        guard let number = WholeNumber.read(text), number <= Int32.max else {
            throw ValueProblem("has a database that is not a number from 0 to \(Int32.max)")
        }
        return number
    }

    private static func values(_ query: Substring, known: Set<String>) throws(ValueProblem) -> [String: String] {
        var values: [String: String] = [:]
        guard !query.isEmpty else { return values }
        for item in query.dropFirst().split(separator: "&", omittingEmptySubsequences: false) {
            guard let equals = item.firstIndex(of: "="), known.contains(String(item[..<equals])) else {
                throw ValueProblem(
                    "has an unknown parameter after its ?; known: \(known.sorted().joined(separator: ", "))"
                )
            }
            let name = String(item[..<equals])
            let value = try decoded(item[item.index(after: equals)...])
            guard !value.isEmpty else { throw ValueProblem("has an empty parameter \(name)") }
            guard values.updateValue(value, forKey: name) == nil else {
                throw ValueProblem("has the parameter \(name) twice")
            }
        }
        return values
    }

    private static func files(
        takenFrom values: inout [String: String],
        isEncrypted: Bool
    ) throws(ValueProblem) -> (authorities: String?, certificate: String?, key: String?) {
        for name in ["ca", "cert", "key"] {
            guard let path = values[name] else { continue }
            guard isEncrypted else {
                throw ValueProblem("has the parameter \(name), which needs TLS; write rediss instead of redis")
            }
            do throws(ValueProblem) {
                _ = try ValueSyntax<String>.filePath.read(path)
            } catch {
                throw ValueProblem("has a parameter \(name) that is not the path of a file")
            }
        }
        let authorities = values.removeValue(forKey: "ca")
        let certificate = values.removeValue(forKey: "cert")
        let key = values.removeValue(forKey: "key")
        guard (certificate == nil) == (key == nil) else {
            throw ValueProblem("has one of the parameters cert and key; give both, or neither")
        }
        return (authorities, certificate, key)
    }

    /// Decodes percent-encoded text; unlike paths of clients, what is no valid escape is refused.
    private static func decoded(_ text: Substring) throws(ValueProblem) -> String {
        for part in text.utf8.split(separator: UInt8(ascii: "%"), omittingEmptySubsequences: false).dropFirst() {
            guard part.count >= 2, part.prefix(2).allSatisfy({ HTTPField.hexValue($0) != nil }) else {
                throw ValueProblem("has a % that two hexadecimal digits don't follow; write %25 for it")
            }
        }
        guard let plain = String(validating: PercentEncoding.bytes(text.utf8), as: UTF8.self) else {
            throw ValueProblem("has percent-encoded bytes that are not UTF-8")
        }
        return plain
    }

    /// Whether `text` is 1 to `limit` bytes of printable ASCII without spaces.
    static func isPrintable(_ text: String, upTo limit: Int) -> Bool {
        (1...limit).contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }
}
