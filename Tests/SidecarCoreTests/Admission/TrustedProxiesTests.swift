import Testing

@testable import SidecarCore

@Suite("Networks and trusted proxies")
struct TrustedProxiesTests {
    @Test(
        "A network holds its first and last address and none beside them",
        arguments: [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0", "a00::"]),
            ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.0"]),
            ("192.0.2.7", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.7/32", ["192.0.2.7"], ["192.0.2.6", "192.0.2.8"]),
            ("192.0.2.6/31", ["192.0.2.6", "192.0.2.7"], ["192.0.2.5", "192.0.2.8"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1", "2001:db8::1"]),
            ("::/0", ["::", "2001:db8::1"], ["0.0.0.0", "1.2.3.4", "::ffff:1.2.3.4"]),
            ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff::1"], ["2001:db7:ffff::", "2001:db9::"]),
            ("2001:db8::/65", ["2001:db8::7fff:ffff:ffff:ffff"], ["2001:db8::8000:0:0:0"]),
            ("2001:db8::1", ["2001:db8::1", "2001:db8::1%eth0"], ["2001:db8::2"]),
            ("::ffff:10.0.0.0/104", ["10.0.0.0", "10.255.255.255"], ["11.0.0.0"]),
            ("::ffff:0.0.0.0/96", ["1.2.3.4"], ["2001:db8::1"]),
        ]
    )
    func contains(text: String, inside: [String], outside: [String]) throws {
        let network = try IPNetwork(parsing: text)
        for address in inside { #expect(network.contains(try #require(IPAddress(address))), "\(address)") }
        for address in outside { #expect(!network.contains(try #require(IPAddress(address))), "\(address)") }
        #expect(try IPNetwork(parsing: network.description) == network)
    }

    @Test(
        "What is no network is refused with the reason",
        arguments: [
            ("", "is not an IP address"), ("/", "is not an IP address"), ("10.0.0/8", "is not an IP address"),
            ("10/8", "is not an IP address"), ("example.com", "is not an IP address"),
            ("[::1]", "is not an IP address"),
            ("fe80::1%eth0", "is not an IP address"), ("fe80::%eth0/10", "is not an IP address"),
            ("10.0.0.0/", "from 0 to 32"), ("10.0.0.0/33", "from 0 to 32"), ("10.0.0.0/-1", "from 0 to 32"),
            ("10.0.0.0/08", "from 0 to 32"), ("10.0.0.0/+8", "from 0 to 32"), ("10.0.0.0/8/8", "from 0 to 32"),
            ("10.0.0.0/255.0.0.0", "from 0 to 32"), ("10.0.0.0/ 8", "from 0 to 32"), ("::/129", "from 0 to 128"),
            ("::/9999999999999999999999", "from 0 to 128"), ("::ffff:1.2.3.4/129", "from 96 to 128"),
            ("::ffff:0.0.0.0/95", "write IPv4 and IPv6 networks apart"),
            ("10.1.2.3/8", "the network is 10.0.0.0/8"), ("2001:db8::1/64", "the network is 2001:db8::/64"),
        ]
    )
    func faults(text: String, words: String) {
        let fault = #expect(throws: AdmissionSyntaxFault.self) { try IPNetwork(parsing: text) }
        #expect(fault?.problem.contains(words) == true, "\(fault?.problem ?? "")")
    }

    @Test("Keywords name the networks that people mean by them")
    func keywords() throws {
        let loopback = try TrustedProxies(parsing: ["LoopBack"])
        let privates = try TrustedProxies(parsing: ["private"])
        let both = try TrustedProxies(parsing: ["loopback", "private", "loopback", "203.0.113.9"])
        let ofLoopback = ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"]
        let ofPrivate = [
            "10.0.0.1", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255", "169.254.169.254",
            "100.64.0.0", "100.127.255.255", "fc00::", "fdff:ffff::1", "fe80::1", "febf::1",
        ]
        let ofNeither = [
            "0.0.0.0", "126.255.255.255", "128.0.0.0", "::", "::2", "9.255.255.255", "11.0.0.0", "172.15.255.255",
            "172.32.0.0", "192.167.255.255", "192.169.0.0", "169.253.255.255", "169.255.0.0", "100.63.255.255",
            "100.128.0.0", "fbff::1", "fe00::1", "fec0::1", "2001:db8::1", "8.8.8.8",
        ]
        for text in ofLoopback + ofPrivate + ofNeither {
            let address = try #require(IPAddress(text))
            #expect(loopback.contains(address) == ofLoopback.contains(text), "\(text)")
            #expect(privates.contains(address) == ofPrivate.contains(text), "\(text)")
            #expect(both.contains(address) == !ofNeither.contains(text), "\(text)")
            #expect(!TrustedProxies.none.contains(address))
        }
        #expect(both.networks.count == loopback.networks.count + privates.networks.count + 1)
        #expect(both.contains(try #require(IPAddress("203.0.113.9"))))
        #expect(TrustedProxies.none.isEmpty && !both.isEmpty)
        #expect(try TrustedProxies(parsing: [String]()) == .none)
    }

    @Test(
        "A peer on a Unix socket is trusted exactly when an address of this machine's loopback is",
        arguments: [
            (["loopback"], true), (["private"], false), ([], false), (["127.0.0.1"], true), (["::1"], true),
            (["127.0.0.2"], false), (["0.0.0.0/0"], true), (["::/0"], true), (["10.0.0.0/8"], false),
        ] as [([String], Bool)]
    )
    func unixSockets(items: [String], isTrusted: Bool) throws {
        let trusted = try TrustedProxies(parsing: items)
        #expect(trusted.trustsUnixSockets == isTrusted)
        #expect(trusted.trusts(peer: nil, isUnixSocket: true) == isTrusted)
        #expect(!trusted.trusts(peer: nil, isUnixSocket: false))
    }

    @Test("A bad item is named, and there may be 1024 networks but not 1025")
    func lists() throws {
        let fault = #expect(throws: AdmissionSyntaxFault.self) {
            try TrustedProxies(parsing: ["private", "10.0.0.0/40\u{1B}[2J"])
        }
        #expect(fault?.problem.hasPrefix(#"in "10.0.0.0/40\u{1b}[2J": "#) == true)
        let many = (0..<1025).map { "10.0.\($0 / 256).\($0 % 256)" }
        #expect(try TrustedProxies(parsing: many.dropLast()).networks.count == 1024)
        #expect(throws: AdmissionSyntaxFault.self) { try TrustedProxies(parsing: many) }
    }
}
