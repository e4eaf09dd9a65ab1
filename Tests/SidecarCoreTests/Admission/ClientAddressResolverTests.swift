import HTTP1
import Testing

@testable import SidecarCore

@Suite("Client address")
struct ClientAddressResolverTests {
    private func resolve(
        _ fields: [String],
        peer: String? = "10.0.0.1",
        unix: Bool = false,
        trusted: [String] = ["private"],
        header: ClientIPHeader = .xForwardedFor,
        scheme: ClientScheme = .http
    ) throws -> ResolvedClient {
        let resolver = ClientAddressResolver(trusted: try TrustedProxies(parsing: trusted), header: header)
        return resolver.resolve(
            peer: try peer.map { try #require(IPAddress($0)) },
            peerIsUnixSocket: unix,
            connectionScheme: scheme,
            headers: try Heads.request(lines: ["GET / HTTP/1.1", "Host: h"] + fields).headers
        )
    }

    @Test(
        "X-Forwarded-For is walked from the right past trusted hops, all its lines as one list",
        arguments: [
            ([], "10.0.0.1"),
            ([""], "10.0.0.1"),
            (["1.2.3.4"], "1.2.3.4"),
            (["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            (["9.9.9.9,1.2.3.4"], "1.2.3.4"),
            (["9.9.9.9 , 1.2.3.4 \t, 10.0.0.2\t,192.168.3.4"], "1.2.3.4"),
            (["9.9.9.9", "1.2.3.4"], "1.2.3.4"),
            (["9.9.9.9", "1.2.3.4, 10.0.0.2", "10.0.0.3"], "1.2.3.4"),
            (["1.2.3.4", ""], "1.2.3.4"),
            ([", , 1.2.3.4, ,", " , "], "1.2.3.4"),
            // All trusted: the leftmost is the client.
            (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // Ports and brackets.
            (["1.2.3.4:5678"], "1.2.3.4"), (["[2001:db8::1]:80"], "2001:db8::1"), (["[2001:db8::1]"], "2001:db8::1"),
            (["2001:DB8::1"], "2001:db8::1"), (["::ffff:1.2.3.4"], "1.2.3.4"), (["[::ffff:1.2.3.4]:1"], "1.2.3.4"),
            (["[fe80::1%eth0]:80, 10.0.0.2:1"], "fe80::1"), (["1.2.3.4, ::ffff:10.0.0.2"], "1.2.3.4"),
            (["1.2.3.4:0"], "1.2.3.4"), (["1.2.3.4:65535"], "1.2.3.4"),
            // What is no address ends the walk.
            (["1.2.3.4, garbage"], "10.0.0.1"), (["1.2.3.4, garbage, 10.0.0.2"], "10.0.0.2"),
            (["1.2.3.4, unknown, 10.0.0.2"], "10.0.0.2"), (["1.2.3.4, _hidden"], "10.0.0.1"),
            (["1.2.3.4:65536"], "10.0.0.1"), (["1.2.3.4:"], "10.0.0.1"), (["1.2.3.4:-1"], "10.0.0.1"),
            (["1.2.3.4:000080"], "10.0.0.1"), (["[1.2.3.4]"], "10.0.0.1"), (["[1.2.3.4]:80"], "10.0.0.1"),
            (["[::1"], "10.0.0.1"), (["::1]"], "10.0.0.1"), (["[::1]80"], "10.0.0.1"), (["[]"], "10.0.0.1"),
            (["01.2.3.4"], "10.0.0.1"), (["1.2.3"], "10.0.0.1"), (["1.2.3.4 5.6.7.8"], "10.0.0.1"),
            (["1.2.3.4;5.6.7.8"], "10.0.0.1"), (["\"1.2.3.4\""], "10.0.0.1"), (["http://1.2.3.4"], "10.0.0.1"),
            (["1.2.3.4\u{E9}"], "10.0.0.1"), ([":"], "10.0.0.1"), (["["], "10.0.0.1"), (["]"], "10.0.0.1"),
        ]
    )
    func forwardedFor(lines: [String], client: String) throws {
        let resolved = try resolve(lines.map { "X-Forwarded-For: \($0)" })
        #expect(resolved.address == client)
        #expect(resolved.ip == IPAddress(client))
        #expect(resolved.peerIsTrusted && !resolved.untrustedForwardingHeaderSeen)
    }

    @Test("The app gets the received list with the peer appended, from an untrusted peer the peer alone")
    func chain() throws {
        let fields = ["X-Forwarded-For: 9.9.9.9, garbage", "X-Forwarded-For:", "x-forwarded-for: 1.2.3.4:80,10.0.0.2 "]
        #expect(try resolve(fields).forwardedForChain == "9.9.9.9, garbage, 1.2.3.4:80,10.0.0.2, 10.0.0.1")
        #expect(try resolve(fields, peer: "8.8.8.8").forwardedForChain == "8.8.8.8")
        #expect(try resolve([]).forwardedForChain == "10.0.0.1")
        #expect(try resolve(fields, peer: "::ffff:10.0.0.1").forwardedForChain.hasSuffix(", 10.0.0.1"))
        #expect(
            try resolve(fields, peer: nil, unix: true, trusted: ["loopback"]).forwardedForChain.hasSuffix(", unix:")
        )
    }

    @Test(
        "Nothing that an untrusted peer says about the client counts, and it is noticed (abuse case 27)",
        arguments: ClientIPHeader.allCases
    )
    func untrusted(header: ClientIPHeader) throws {
        let lies = [
            "X-Forwarded-For: 1.2.3.4", "Forwarded: for=1.2.3.4;proto=https;host=evil.com", "X-Real-IP: 1.2.3.4",
            "CF-Connecting-IP: 1.2.3.4", "True-Client-IP: 1.2.3.4", "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil.com", "X-FORWARDED-SOMETHING: x",
        ]
        let honest = try resolve(["X-Forward: 1", "Via: 1.1 x"], peer: "8.8.8.8", header: header)
        #expect(!honest.untrustedForwardingHeaderSeen)
        for trusted in [["private"], []] {
            for fields in lies.map({ [$0] }) + [lies] {
                let resolved = try resolve(fields, peer: "8.8.8.8", trusted: trusted, header: header)
                #expect(resolved.untrustedForwardingHeaderSeen, "\(fields)")
                #expect(resolved.address == "8.8.8.8" && resolved.ip == IPAddress("8.8.8.8"))
                #expect(resolved.scheme == .http && resolved.forwardedHost == nil && !resolved.peerIsTrusted)
                #expect(resolved.forwardedForChain == "8.8.8.8")
            }
        }
    }

    @Test("A trusted peer's header that was not chosen does not name the client", arguments: ClientIPHeader.allCases)
    func otherHeaders(header: ClientIPHeader) throws {
        let fields: [ClientIPHeader: String] = [
            .xForwardedFor: "X-Forwarded-For: 1.1.1.1", .forwarded: "Forwarded: for=2.2.2.2;proto=https;host=f",
            .cfConnectingIP: "CF-Connecting-IP: 3.3.3.3", .xRealIP: "X-Real-IP: 4.4.4.4",
            .trueClientIP: "True-Client-IP: 5.5.5.5",
        ]
        let addresses: [ClientIPHeader: String] = [
            .xForwardedFor: "1.1.1.1", .forwarded: "2.2.2.2", .cfConnectingIP: "3.3.3.3", .xRealIP: "4.4.4.4",
            .trueClientIP: "5.5.5.5",
        ]
        let resolved = try resolve(fields.values.sorted(), header: header)
        #expect(resolved.address == addresses[header])
        #expect(resolved.scheme == (header == .forwarded ? .https : .http))
        #expect(resolved.forwardedForChain == "\(resolved.address), 10.0.0.1")
        let others = try resolve(fields.filter { $0.key != header }.values.sorted(), header: header)
        #expect(others.address == "10.0.0.1")
        #expect("\(header.fieldName)" == header.rawValue)
    }

    @Test("Peers on a Unix socket have no address; they are believed when loopback is trusted")
    func unixPeers() throws {
        let believed = try resolve(["X-Forwarded-For: 1.2.3.4"], peer: nil, unix: true, trusted: ["loopback"])
        #expect(believed.address == "1.2.3.4" && believed.forwardedForChain == "1.2.3.4, unix:")
        let silent = try resolve([], peer: nil, unix: true, trusted: ["loopback"])
        #expect(silent.address == "unix:" && silent.ip == nil && silent.forwardedForChain == "unix:")
        let lying = try resolve(["X-Forwarded-For: 1.2.3.4"], peer: nil, unix: true, trusted: ["private"])
        #expect(lying.address == "unix:" && lying.untrustedForwardingHeaderSeen)
        #expect(lying.rateLimitKey(ipv6PrefixLength: 64) == .withoutAddress)
        let nobody = try resolve(["X-Forwarded-For: 1.2.3.4"], peer: nil, trusted: ["0.0.0.0/0", "::/0"])
        #expect(nobody.address == "unknown" && nobody.ip == nil && !nobody.peerIsTrusted)
        // A hop that a proxy reached over a Unix socket, as nginx writes it.
        let hop = ["X-Forwarded-For: 1.2.3.4, unix:"]
        #expect(try resolve(hop, trusted: ["private", "loopback"]).address == "1.2.3.4")
        #expect(try resolve(hop, trusted: ["private"]).address == "10.0.0.1")
        #expect(try resolve(["X-Forwarded-For: unix:"], trusted: ["private", "loopback"]).address == "10.0.0.1")
    }

    @Test(
        "Scheme and host of a trusted peer are read where the outermost proxy wrote them",
        arguments: [
            ([], nil, nil),
            (["X-Forwarded-Proto: https", "X-Forwarded-Host: a.example:8443"], .https, "a.example:8443"),
            (["X-Forwarded-Proto: HTTPS"], .https, nil), (["X-Forwarded-Proto: wss"], .https, nil),
            (["X-Forwarded-Proto: ws"], .http, nil), (["X-Forwarded-Proto: http"], .http, nil),
            (["X-Forwarded-Proto: gopher"], nil, nil), (["X-Forwarded-Proto:"], nil, nil),
            (["X-Forwarded-Host: a b"], nil, nil), (["X-Forwarded-Host: user@a"], nil, nil),
            (["X-Forwarded-Host: a/b"], nil, nil), (["X-Forwarded-Host: a:99999"], nil, nil),
            (["X-Forwarded-Host: [::1]:80"], nil, "[::1]:80"),
            // One proxy appended to what the client had made up.
            (["X-Forwarded-Proto: https, http", "X-Forwarded-Host: evil, real"], .http, "real"),
            (["X-Forwarded-Host: evil", "X-Forwarded-Host: real"], nil, "real"),
            (["X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https, http"], .http, nil),
            // Two proxies, each appending.
            (
                [
                    "X-Forwarded-For: 9.9.9.9, 1.2.3.4, 10.0.0.2", "X-Forwarded-Host: evil, real, inner",
                    "X-Forwarded-Proto: http, https, http",
                ], .https, "real"
            ),
            // Two proxies, of which only the first writes.
            (
                [
                    "X-Forwarded-For: 1.2.3.4, 10.0.0.2", "X-Forwarded-Host: real", "X-Forwarded-Proto: https",
                ], .https, "real"
            ),
        ] as [([String], ClientScheme?, String?)]
    )
    func schemeAndHost(fields: [String], scheme: ClientScheme?, host: String?) throws {
        for own in ClientScheme.allCases {
            let resolved = try resolve(fields, scheme: own)
            #expect(resolved.scheme == scheme ?? own)
            #expect(resolved.forwardedHost == host)
            #expect(resolved.identity.address == resolved.address)
            #expect(resolved.identity.scheme == resolved.scheme.rawValue)
            #expect(resolved.identity.forwardedHost == host)
            #expect(resolved.identity.forwardedFor == resolved.forwardedForChain)
        }
    }

    @Test(
        "A header with one address has to be one field with one address",
        arguments: [
            ([], "10.0.0.1"), (["1.2.3.4"], "1.2.3.4"), (["2001:DB8::1"], "2001:db8::1"),
            (["::ffff:1.2.3.4"], "1.2.3.4"), (["10.0.0.9"], "10.0.0.9"), (["[2001:db8::1]:443"], "2001:db8::1"),
            (["1.2.3.4", "1.2.3.4"], "10.0.0.1"), (["1.2.3.4, 5.6.7.8"], "10.0.0.1"), (["1.2.3.4,"], "10.0.0.1"),
            ([""], "10.0.0.1"), (["unknown"], "10.0.0.1"), (["unix:"], "10.0.0.1"), (["localhost"], "10.0.0.1"),
        ]
    )
    func singleValues(values: [String], client: String) throws {
        let names: [(String, ClientIPHeader)] = [
            ("CF-Connecting-IP", .cfConnectingIP), ("x-real-ip", .xRealIP), ("True-Client-IP", .trueClientIP),
        ]
        for (name, header) in names {
            let fields = values.map { "\(name): \($0)" } + ["X-Forwarded-For: 7.7.7.7", "X-Forwarded-Proto: https"]
            let resolved = try resolve(fields, header: header)
            #expect(resolved.address == client)
            #expect(resolved.forwardedForChain == (client == "10.0.0.1" ? client : "\(client), 10.0.0.1"))
            #expect(resolved.scheme == .https)
        }
    }

    @Test("A walk looks at 64 elements at most, and the last of them is then the client")
    func longWalks() throws {
        for (count, client) in [(62, "1.2.3.4"), (63, "1.2.3.4"), (64, "10.9.0.0")] {
            let hops = (0..<count).map { "10.9.0.\($0)" }
            let list = (["1.2.3.4"] + hops).joined(separator: ", ")
            #expect(try resolve(["X-Forwarded-For: \(list)"]).address == client)
            let forwarded = (["1.2.3.4"] + hops).map { "for=\($0)" }.joined(separator: ", ")
            #expect(try resolve(["Forwarded: \(forwarded)"], header: .forwarded).address == client)
        }
        let commas = String(repeating: ",", count: 6000)
        #expect(try resolve(["X-Forwarded-For: 1.2.3.4\(commas)"]).address == "10.0.0.1")
        let quotes = String(repeating: "\"\\", count: 2000)
        #expect(try resolve(["Forwarded: \(quotes), for=1.2.3.4"], header: .forwarded).address == "1.2.3.4")
    }
}
