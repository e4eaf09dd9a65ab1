import HTTP1
import Testing

@testable import SidecarCore

@Suite("Forwarded (RFC 7239)")
struct ForwardedHeaderTests {
    private func resolve(_ lines: [String]) throws -> ResolvedClient {
        let resolver = ClientAddressResolver(
            trusted: try TrustedProxies(parsing: ["private"]),
            header: .forwarded
        )
        let fields = lines.map { "Forwarded: \($0)" } + ["X-Forwarded-Proto: https", "X-Forwarded-Host: not.this"]
        return resolver.resolve(
            peer: IPAddress("10.0.0.1"),
            peerIsUnixSocket: false,
            headers: try Heads.request(lines: ["GET / HTTP/1.1", "Host: h"] + fields).headers
        )
    }

    @Test(
        "The client is found in every form that the standard and real proxies write",
        arguments: [
            (["for=1.2.3.4"], "1.2.3.4"), (["For=1.2.3.4"], "1.2.3.4"), (["FOR=\"1.2.3.4\""], "1.2.3.4"),
            (["for=\"1.2.3.4:5678\""], "1.2.3.4"), (["for=1.2.3.4:5678"], "1.2.3.4"),
            (["for=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"), (["for=\"[2001:DB8::1]\""], "2001:db8::1"),
            (["for=[2001:db8::1]:80"], "2001:db8::1"), (["for=\"[::ffff:1.2.3.4]\""], "1.2.3.4"),
            (["for=\"1.2.3.4:_port-1.x\""], "1.2.3.4"),
            (["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
            (["for=192.0.2.43", "for=198.51.100.17"], "198.51.100.17"),
            (["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (["by=203.0.113.43;for=192.0.2.60"], "192.0.2.60"), (["for=1.2.3.4 ; proto=http"], "1.2.3.4"),
            ([";;for=1.2.3.4;;"], "1.2.3.4"), (["for=1.2.3.4;secret=\"a,b;c\\\"d\", for=10.0.0.2"], "1.2.3.4"),
            (["for=1.2.3.4, , for=10.0.0.2,"], "1.2.3.4"), (["for=\"1.2\\.3.4\""], "1.2.3.4"),
            (["for=1.2.3.4;x=\"a\\\\\", for=10.0.0.2;y=\"b\\\\\""], "1.2.3.4"),
            (["for=1.2.3.4;x=\"\""], "1.2.3.4"),
            // Nothing to go on from.
            (["for=_hidden"], "10.0.0.1"), (["for=unknown"], "10.0.0.1"), (["for=\"_SEVKISEK:_x\""], "10.0.0.1"),
            (["for=1.2.3.4, for=_hidden, for=10.0.0.2"], "10.0.0.2"), (["for=1.2.3.4, proto=https"], "10.0.0.1"),
            (["for=1.2.3.4, for=unknown"], "10.0.0.1"), ([""], "10.0.0.1"), ([], "10.0.0.1"),
            // Malformed elements.
            (["for=1.2.3.4, for"], "10.0.0.1"), (["for=1.2.3.4, for="], "10.0.0.1"), (["1.2.3.4"], "10.0.0.1"),
            (["for = 1.2.3.4"], "10.0.0.1"), (["for=1.2.3.4;for=5.6.7.8"], "10.0.0.1"),
            (["for=1.2.3.4;FOR=1.2.3.4"], "10.0.0.1"), (["for=1.2.3.4 proto=http"], "10.0.0.1"),
            (["for=\"1.2.3.4"], "10.0.0.1"), (["for=\"1.2.3.4\\\""], "10.0.0.1"), (["for=\"1.2.3.4\"x"], "10.0.0.1"),
            (["for=1.2.3.4;"], "1.2.3.4"), (["=1.2.3.4"], "10.0.0.1"), (["for==1.2.3.4"], "10.0.0.1"),
            (["for=2001:db8::1"], "2001:db8::1"), (["for=\"[1.2.3.4]\""], "10.0.0.1"), (["for=\"\""], "10.0.0.1"),
            // What the client wrote further left cannot spoil what a proxy appended.
            (["for=\"evil, for=1.2.3.4"], "1.2.3.4"), (["\", for=1.2.3.4;proto=http"], "1.2.3.4"),
            (["for=\"a\\\", for=1.2.3.4;x=\"y\""], "1.2.3.4"), (["\\\"\\\", for=\"1.2.3.4\""], "1.2.3.4"),
            (["\"", "for=1.2.3.4"], "1.2.3.4"),
        ]
    )
    func clients(lines: [String], client: String) throws {
        let resolved = try resolve(lines)
        #expect(resolved.address == client)
        #expect(resolved.ip == IPAddress(client))
    }

    @Test(
        "Scheme and host come from the outermost trusted proxy's element, and from no other header",
        arguments: [
            ("for=1.2.3.4", .http, nil), ("for=1.2.3.4;proto=https;host=a.example", .https, "a.example"),
            ("for=1.2.3.4;proto=HTTPS;host=\"a.example:8443\"", .https, "a.example:8443"),
            ("for=1.2.3.4;proto=wss", .https, nil), ("for=1.2.3.4;proto=x", .http, nil),
            ("for=1.2.3.4;host=\"a b\"", .http, nil), ("for=1.2.3.4;host=\"u@a\"", .http, nil),
            ("for=9.9.9.9;proto=https;host=evil, for=1.2.3.4;proto=http;host=real", .http, "real"),
            ("for=1.2.3.4;proto=https;host=real, for=10.0.0.2;proto=http;host=inner", .https, "real"),
            ("for=1.2.3.4, for=10.0.0.2;proto=https;host=inner", .https, "inner"),
            ("for=9.9.9.9;proto=https, for=_x;host=real", .http, "real"),
            ("proto=https;host=real", .https, "real"), ("proto=https;proto=http", .http, nil),
        ] as [(String, ClientScheme, String?)]
    )
    func schemeAndHost(line: String, scheme: ClientScheme, host: String?) throws {
        let resolved = try resolve([line])
        #expect(resolved.scheme == scheme)
        #expect(resolved.forwardedHost == host)
    }

    @Test("The app gets the hops that were walked, canonical and with the peer last")
    func chain() throws {
        let line = "for=9.9.9.9, for=\"[2001:DB8:0::1]:80\", for=10.0.0.3, for=\"10.0.0.2:81\""
        #expect(try resolve([line]).forwardedForChain == "2001:db8::1, 10.0.0.3, 10.0.0.2, 10.0.0.1")
        #expect(try resolve(["for=1.2.3.4, garbage"]).forwardedForChain == "10.0.0.1")
    }

    @Test("Sixteen parameters are read, seventeen are not")
    func parameters() throws {
        for (count, client) in [(14, "1.2.3.4"), (15, "1.2.3.4"), (16, "10.0.0.1")] {
            let line = "for=1.2.3.4" + (0..<count).map { ";p\($0)=x" }.joined()
            #expect(try resolve([line]).address == client)
        }
    }
}
