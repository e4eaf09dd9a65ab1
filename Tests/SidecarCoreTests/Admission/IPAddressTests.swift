import NIOCore
import Testing

@testable import SidecarCore

@Suite("IP addresses")
struct IPAddressTests {
    @Test(
        "Every valid form is read and written in the one canonical form",
        arguments: [
            ("0.0.0.0", "0.0.0.0"), ("1.2.3.4", "1.2.3.4"), ("255.255.255.255", "255.255.255.255"),
            ("100.99.10.9", "100.99.10.9"),
            ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("0:0:0:0:0:0:0:0", "::"), ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:DB8::1", "2001:db8::1"), ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
            // RFC 5952 §4: one zero group stays, the longest run goes, of equals the first.
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"), ("2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"), ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("0:0:1:0:0:0:0:0", "0:0:1::"), ("::1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"), ("::1.2.3.4", "::102:304"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            // IPv4-mapped is IPv4.
            ("::ffff:1.2.3.4", "1.2.3.4"), ("::FFFF:102:304", "1.2.3.4"), ("0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4"),
            ("::ffff:0:1.2.3.4", "::ffff:0:102:304"),
            // The zone is dropped.
            ("fe80::1%eth0", "fe80::1"), ("fe80::1%25", "fe80::1"), ("::ffff:1.2.3.4%lo", "1.2.3.4"),
            ("fe80::1%abcdefghijklmnopqrstuvwxyz123456", "fe80::1"),
        ]
    )
    func valid(text: String, canonical: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == canonical)
        #expect(address == IPAddress(canonical))
        #expect(address.hashValue == IPAddress(canonical)?.hashValue)
        #expect(address.isIPv4 == !canonical.contains(":"))
    }

    @Test(
        "Whatever is not exactly an address is none",
        arguments: [
            "", " ", ".", ":", "%", "1", "1.2", "1.2.3", "1.2.3.4.5", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.",
            "01.2.3.4", "1.2.3.04", "00.0.0.0", "1.2.3.256", "1.2.3.1000", "0x7f.0.0.1", "2130706433", "127.1",
            " 1.2.3.4", "1.2.3.4 ", "1.2.3.4\n", "+1.2.3.4", "1.2.3.-4", "1.2.3.4%eth0", "1.2.3.4:80", "1.2.3.4/32",
            "１.2.3.4", "1.2.3.4\u{0}",
            ":::", "::1::", "1::2::3", ":1", "1:", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "g::", "::g", "[::1]", "::1 ", " ::1", "::1.2.3",
            "::1.2.3.4.5", "::01.2.3.4", "1.2.3.4::", "::1.2.3.4:5", "1:2:3:4:5:6:7:1.2.3.4", "::ffff:1.2.3.256",
            "::%", "::1%", "::1%a%b", "::1%a/b", "::1%a b", "fe80::1%abcdefghijklmnopqrstuvwxyz1234567", "%eth0",
            "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", "::é",
        ]
    )
    func invalid(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("Reading agrees with the system on every short text of the characters that matter")
    func agreesWithSystem() {
        var random = TestRandom(state: 7)
        let pieces = ["0", "1", "00", "f", "ffff", "255", "256", ":", "::", ".", "1.2.3.4", "a0b", ":ffff:"]
        for _ in 0..<20_000 {
            let text = (0...random.below(9)).map { _ in pieces[random.below(pieces.count)] }.joined()
            let system = try? SocketAddress(ipAddress: text, port: 0)
            let ours = IPAddress(text)
            if (ours == nil) != (system == nil) {
                Issue.record("\(text): \(String(describing: ours)), \(String(describing: system))")
                return
            }
            guard let ours else { continue }
            // Their text of theirs is ours, and our text of ours is theirs.
            let again = try? SocketAddress(ipAddress: ours.description, port: 0)
            let isSame = again == system || (ours.isIPv4 && again?.ipAddress == ours.description)
            if !isSame || system?.ipAddress.flatMap({ IPAddress($0) }) != ours {
                Issue.record("\(text) became \(ours)")
                return
            }
        }
    }

    @Test("Bytes in network order make the same address as its text")
    func networkOrder() {
        func read(_ bytes: [UInt8]) -> IPAddress? { bytes.withUnsafeBytes { IPAddress(networkOrder: $0) } }
        #expect(read([192, 0, 2, 1]) == IPAddress("192.0.2.1"))
        #expect(read([0x20, 1, 0xD, 0xB8] + Array(repeating: 0, count: 11) + [9]) == IPAddress("2001:db8::9"))
        #expect(read(Array(repeating: 0, count: 10) + [255, 255, 192, 0, 2, 1]) == IPAddress("192.0.2.1"))
        for count in 0...20 where count != 4 && count != 16 {
            #expect(read(Array(repeating: 1, count: count)) == nil)
        }
        #expect(IPAddress(v4: 0xC000_0201) == IPAddress("192.0.2.1"))
        #expect(IPAddress.loopbackV4.description == "127.0.0.1" && IPAddress.loopbackV6.description == "::1")
    }

    @Test(
        "A prefix keeps its first bits and the family",
        arguments: [
            ("255.255.255.255", 0, "0.0.0.0"), ("255.255.255.255", 1, "128.0.0.0"), ("10.1.2.3", 31, "10.1.2.2"),
            ("10.1.2.3", 32, "10.1.2.3"), ("10.1.2.3", 33, "10.1.2.3"), ("10.1.2.3", -1, "0.0.0.0"),
            ("10.1.2.3", .max, "10.1.2.3"), ("10.1.2.3", .min, "0.0.0.0"), ("10.1.2.3", 24, "10.1.2.0"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0, "::"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 63, "ffff:ffff:ffff:fffe::"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 64, "ffff:ffff:ffff:ffff::"),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65, "ffff:ffff:ffff:ffff:8000::"),
            ("2001:db8:1:2:3:4:5:6", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:7", 127, "2001:db8:1:2:3:4:5:6"),
            ("2001:db8:1:2:3:4:5:7", 128, "2001:db8:1:2:3:4:5:7"),
            ("2001:db8:1:2:3:4:5:7", 129, "2001:db8:1:2:3:4:5:7"),
        ] as [(String, Int, String)]
    )
    func prefixes(text: String, bits: Int, expected: String) throws {
        #expect(try #require(IPAddress(text)).prefix(bits).description == expected)
    }
}

@Suite("Rate limit keys")
struct RateLimitKeyTests {
    private func key(_ text: String, _ bits: Int = 64) throws -> RateLimitKey {
        RateLimitKey(try #require(IPAddress(text)), ipv6PrefixLength: bits)
    }

    @Test("A /64 full of IPv6 addresses counts as one, its neighbour as another (abuse case 37)")
    func ipv6() throws {
        #expect(try key("2001:db8:0:1::1") == key("2001:db8:0:1:ffff:ffff:ffff:ffff"))
        #expect(try key("2001:db8:0:1::1") != key("2001:db8:0:2::1"))
        #expect(try key("2001:db8:0:1::1", 48) == key("2001:db8:0:2::1", 48))
        #expect(try key("2001:db8::1", 128) != key("2001:db8::2", 128))
        #expect(try key("2001:db8::1", 127) != key("2001:db8::2", 127))
        #expect(try key("2001:db8::2", 127) == key("2001:db8::3", 127))
    }

    @Test("IPv4 counts whole, however it came and whatever the prefix")
    func ipv4() throws {
        #expect(try key("1.2.3.4") == key("::ffff:1.2.3.4", 0))
        #expect(try key("1.2.3.4") != key("1.2.3.5"))
        #expect(try key("1.2.3.4").bits == 0xFFFF_0102_0304)
    }

    @Test("Peers without address share one key that no address has")
    func withoutAddress() throws {
        for bits in [0, 1, 8, 64, 128] {
            for text in ["::", "::1", "1.2.3.4", "100::", "100:0:0:1::", "2001:db8::1"] {
                #expect(try key(text, bits) != .withoutAddress)
            }
        }
    }
}

/// Numbers that are the same in every run.
struct TestRandom {
    var state: UInt64

    mutating func below(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let mixed = (state ^ state >> 33) &* 0xFF51_AFD7_ED55_8CCD
        return Int((mixed ^ mixed >> 33) % UInt64(max(bound, 1)))
    }
}
