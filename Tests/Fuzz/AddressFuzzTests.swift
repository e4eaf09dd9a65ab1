import FoundationEssentials
import HTTP1
import NIOCore
import SidecarCore
import Testing

/// Feeds whole and damaged input to what decides who the client is and which page it comes from.
///
/// The part of a seed's name before the first `-` says who reads it: `address`, `head`, `origin` or `proxy`. An input
/// that ever crashed or broke a property is added to the seeds.
@Suite("Fuzz: addresses, forwarding headers, origins, PROXY headers")
struct AddressFuzzTests {
    @Test("Every seed, and what is left of it when it is cut at any byte, keeps all properties")
    func seeds() throws {
        let seeds = try AddressSeeds.load()
        #expect(seeds.count >= 30)
        #expect(Set(seeds.map(\.kind)) == Set(AddressSeeds.Kind.allCases))
        for seed in seeds {
            for length in stride(from: seed.bytes.count, through: 0, by: -max(1, seed.bytes.count / 100)) {
                let fault = seed.kind.fault(in: Array(seed.bytes[..<length]))
                #expect(fault == nil, "\(seed.name) cut at \(length): \(fault ?? "")")
            }
        }
    }

    /// The four kinds share the iterations.
    @Test("Damaged seeds keep all properties", arguments: AddressSeeds.Kind.allCases)
    func mutations(kind: AddressSeeds.Kind) throws {
        let seeds = try AddressSeeds.load().filter { $0.kind == kind }.map(\.bytes)
        let wanted = ProcessInfo.processInfo.environment["SIDESOCKET_FUZZ_ITERATIONS"].flatMap { Int($0) }
        var mutator = AddressMutator(state: 0xADD2_E550)
        for iteration in 0..<max(wanted ?? 20_000, 0) / 4 {
            let bytes = mutator.input(from: seeds)
            if let fault = kind.fault(in: bytes) {
                Issue.record("iteration \(iteration): \(fault): \(AddressSeeds.literal(bytes))")
                return
            }
        }
    }
}

// MARK: Properties

/// Says whether the text is a sane `host[:port]`.
private func isValidHost(_ text: String) -> Bool {
    var copy = text
    return copy.withUTF8 { HTTPHost.isValid($0.span, 0..<$0.count) }
}

/// Each line is read as an address and as a network.
private enum AddressCheck {
    static func fault(in bytes: [UInt8]) -> String? {
        for line in lines(bytes) {
            if let address = IPAddress(line) {
                if IPAddress(address.description) != address { return "an address that does not read back" }
                if address.isIPv4 != !address.description.contains(":") { return "the wrong family" }
                if address.prefix(address.bitCount) != address { return "a whole prefix that differs" }
            }
            if let network = try? IPNetwork(parsing: line) {
                if !network.contains(network.address) { return "a network without its own address" }
                if (try? IPNetwork(parsing: network.description)) != network {
                    return "a network that does not read back"
                }
            }
            _ = try? TrustedProxies(parsing: line.split(separator: ","))
        }
        return nil
    }

    static func lines(_ bytes: [UInt8]) -> [String] {
        bytes.split(separator: 10, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// The input is the field lines of a request.
private enum HeadCheck {
    private static let peer = IPAddress(v4: 0x0A00_0001)
    private static let appended = IPAddress(v4: 0xCB00_714D)
    private static let trusted = TrustedProxies(networks: [IPNetwork(peer, prefixLength: 8)])

    static func fault(in bytes: [UInt8]) -> String? {
        guard let headers = read(bytes) else { return nil }
        for header in ClientIPHeader.allCases {
            let believing = ClientAddressResolver(trusted: trusted, header: header)
            let believed = believing.resolve(peer: peer, peerIsUnixSocket: false, headers: headers)
            if believed != believing.resolve(peer: peer, peerIsUnixSocket: false, headers: headers) {
                return "not the same twice"
            }
            if let fault = fault(of: believed) { return fault }
            let doubting = ClientAddressResolver(trusted: .none, header: header)
            let doubted = doubting.resolve(peer: peer, peerIsUnixSocket: false, headers: headers)
            if doubted.ip != peer || doubted.address != "10.0.0.1" || doubted.forwardedForChain != "10.0.0.1"
                || doubted.scheme != .http || doubted.forwardedHost != nil
            {
                return "a peer believed that is not trusted"
            }
        }
        return faultOfAppending(to: headers, .xForwardedFor, "203.0.113.77")
            ?? faultOfAppending(to: headers, .forwarded, "for=203.0.113.77")
            ?? faultOfAppending(to: headers, .forwarded, "for=\"203.0.113.77:80\";x=\"a\\\",b\";proto=https")
    }

    private static func fault(of client: ResolvedClient) -> String? {
        if client.ip?.description != client.address { return "an address and its text differ" }
        if !HTTPField.isValidFieldValue(client.forwardedForChain) { return "a chain that is no field value" }
        if client.forwardedForChain.split(separator: ", ").last != "10.0.0.1" { return "a chain without the peer" }
        if let host = client.forwardedHost, !isValidHost(host) { return "a host that is none" }
        return nil
    }

    /// Whatever a client sends, the address that the trusted proxy appends to it is the client's.
    private static func faultOfAppending(
        to headers: HTTPHeaders,
        _ header: ClientIPHeader,
        _ element: String
    ) -> String? {
        let values = headers.values(of: header.fieldName)
        let resolver = ClientAddressResolver(trusted: trusted, header: header)
        let inOne = ["\(header.rawValue): \((values + [element]).joined(separator: ", "))"]
        let inLines = (values + [element]).map { "\(header.rawValue): \($0)" }
        for lines in [inOne, inLines] {
            guard let appendedHeaders = read(Array(lines.joined(separator: "\r\n").utf8)) else { continue }
            let client = resolver.resolve(peer: peer, peerIsUnixSocket: false, headers: appendedHeaders)
            if client.ip != appended { return "what the proxy appended is not the client but \(client.address)" }
        }
        return nil
    }

    private static func read(_ fields: [UInt8]) -> HTTPHeaders? {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "GET / HTTP/1.1\r\nHost: h\r\n")
        input.writeBytes(fields)
        input.writeString("\r\n\r\n")
        reader.append(&input)
        guard case .head(let head)? = try? reader.next() else { return nil }
        return head.headers
    }
}

/// Each line is an origin, a host and an item of the setting.
private enum OriginCheck {
    private static let exact = policy("https://example.com")
    private static let below = policy("https://*.example.com")
    private static let any = policy("*")

    static func fault(in bytes: [UInt8]) -> String? {
        let lines = AddressCheck.lines(bytes)
        for line in lines {
            let lower = line.lowercased()
            let bare = lower.hasSuffix(":443") ? String(lower.dropLast(4)) : lower
            if isAllowed(exact, line), bare != "https://example.com" { return "another origin than the listed one" }
            if isAllowed(below, line) {
                let name = bare.dropFirst(8).dropLast(12)
                let isName = name.utf8.allSatisfy { $0 >= 0x2D && $0 < 0x7F && $0 != 0x2F && $0 != 0x3A && $0 != 0x40 }
                if !bare.hasPrefix("https://") || !bare.hasSuffix(".example.com") || name.isEmpty || !isName {
                    return "an origin that is not below the listed one"
                }
            }
            for host in lines where isAllowed(.sameHost, line, host: host) {
                if !lower.hasPrefix("http") || !isValidHost(host) { return "a page of another host" }
                let name = host.lowercased().split(separator: ":").first.map(String.init) ?? ""
                if !host.hasPrefix("["), !lower.contains("://\(name)") { return "a page of another host" }
            }
            if lower == "null", isAllowed(any, line) { return "null that is not listed" }
            guard let own = try? OriginPolicy(parsing: [line]), !["*", "same-host", "null"].contains(lower),
                !line.contains("*")
            else { continue }
            if !isAllowed(own, line), !line.hasSuffix("/"), line.utf8.count <= 512 { return "not even itself" }
            if isAllowed(own, "https://evil.invalid"), !lower.hasPrefix("https://evil.invalid") {
                return "a list that allows others"
            }
        }
        return nil
    }

    private static func policy(_ item: String) -> OriginPolicy {
        (try? OriginPolicy(parsing: [item])) ?? .sameHost
    }

    private static func isAllowed(_ policy: OriginPolicy, _ origin: String, host: String = "h.invalid") -> Bool {
        policy.decide(origin: [origin], fetchSite: [], host: host, scheme: .http, allowMissing: true) == .allowed
    }
}

/// The input is the begin of a connection.
private enum ProxyCheck {
    static func fault(in bytes: [UInt8]) -> String? {
        for mode in ProxyProtocolMode.allCases {
            let whole = read(bytes, mode, piece: max(bytes.count, 1))
            for piece in [1, 3, 17] where read(bytes, mode, piece: piece) != whole { return "another header in pieces" }
            if whole.hasPrefix("nil"), whole != "nil \(bytes.count)" { return "bytes left while more are needed" }
        }
        return nil
    }

    private static func read(_ bytes: [UInt8], _ mode: ProxyProtocolMode, piece: Int) -> String {
        var decoder = ProxyProtocolDecoder(mode: mode)
        var buffer = ByteBuffer()
        var given = 0
        while true {
            let next = min(bytes.count, given + piece)
            buffer.writeBytes(bytes[given..<next])
            given = next
            do throws(ProxyProtocolError) {
                if let header = try decoder.consume(&buffer) { return "\(header) \(given - buffer.readableBytes)" }
            } catch {
                return "\(error) \(given - buffer.readableBytes)"
            }
            if given == bytes.count { return "nil \(given - buffer.readableBytes)" }
        }
    }
}

// MARK: Inputs

enum AddressSeeds {
    /// Who reads a seed.
    enum Kind: String, CaseIterable, Sendable {
        case address
        case head
        case origin
        case proxy

        /// What is wrong with that which was made of the bytes.
        func fault(in bytes: [UInt8]) -> String? {
            switch self {
            case .address: AddressCheck.fault(in: bytes)
            case .head: HeadCheck.fault(in: bytes)
            case .origin: OriginCheck.fault(in: bytes)
            case .proxy: ProxyCheck.fault(in: bytes)
            }
        }
    }

    static func load(file: String = #filePath) throws -> [(name: String, kind: Kind, bytes: [UInt8])] {
        let here = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let directory = here + "/Seeds/addresses"
        return try FileManager.default.contentsOfDirectory(atPath: directory)
            .filter { !$0.hasPrefix(".") }
            .sorted()
            .compactMap { name in
                guard let kind = Kind(rawValue: String(name.prefix { $0 != "-" })),
                    let data = FileManager.default.contents(atPath: directory + "/" + name)
                else { return nil }
                return (name, kind, [UInt8](data))
            }
    }

    /// The bytes as text that can be pasted into a test or a seed.
    static func literal(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            byte >= 0x20 && byte < 0x7F ? String(Unicode.Scalar(byte)) : "\\x" + String(byte, radix: 16)
        }.joined()
    }
}

/// Damages inputs the same way in each run.
private struct AddressMutator {
    var state: UInt64

    private static let phrases: [[UInt8]] = [
        ",", ";", "\"", "\\", "\\\"", "=", ":", "::", ".", "%", "/", "@", "[", "]", "*", "*.", "\r\n", "\n", "\r",
        "\u{0}",
        " ", "\t", "for=", "for=\"", "proto=https", "host=", "1.2.3.4", "10.0.0.2", "::1", "::ffff:", "unknown", "_x",
        "unix:", "X-Forwarded-For: ", "Forwarded: ", "X-Real-IP: ", "https://", "example.com", ".example.com", ":443",
        "null", "PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "65536", "0", "255", "/32", "é",
    ].map { Array($0.utf8) }

    /// A seed with some bytes changed, sometimes joined with another.
    mutating func input(from seeds: [[UInt8]]) -> [UInt8] {
        var bytes = Array(seeds[below(seeds.count)].prefix(1000))
        if below(8) == 0 { bytes += seeds[below(seeds.count)].suffix(200) }
        for _ in 0..<below(5) {
            let index = below(bytes.count + 1)
            let end = min(bytes.count, index + below(12))
            switch below(6) {
            case 0: bytes.insert(UInt8(truncatingIfNeeded: next()), at: index)
            case 1: bytes.removeSubrange(index..<end)
            case 2, 3: bytes.insert(contentsOf: Self.phrases[below(Self.phrases.count)], at: index)
            case 4: bytes.insert(contentsOf: Array(bytes[index..<end]), at: below(bytes.count + 1))
            default: bytes.replaceSubrange(index..<end, with: bytes[index..<end].map { $0 ^ 1 << UInt8(below(8)) })
            }
        }
        return bytes
    }

    private mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(max(bound, 1))) }

    /// SplitMix64.
    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
