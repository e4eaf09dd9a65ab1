import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Bans as the engine keeps them")
struct StoredBanTests {
    private let network = BanSubject.network(IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8))

    private func seal(_ secret: String) -> BanSeal {
        BanSeal(
            seal: { PartNode.seal($0, $1, secret) },
            open: { PartNode.open($0, $1, secret) }
        )
    }

    private func read(_ field: String, _ value: String, _ seal: BanSeal = .none) -> Result<StoredBan, BanFault> {
        Result { () throws(BanFault) in try StoredBan(field: field, value: ByteBuffer(string: value), seal) }
    }

    @Test("What is written is read", arguments: ["", "flood", "two words  and spaces ", "ü\n\u{0}"])
    func roundTrip(reason: String) throws {
        for subject in [network, .user("ann lee"), .user(" "), .network(IPNetwork(.loopbackV6, prefixLength: 128))] {
            let ban = ClusterBan(subject: subject, rest: .nanoseconds(1_500_001), expiresAt: 7, reason: reason)
            let stored = StoredBan(ban, now: 1_000, seal("s"))
            #expect(stored.until == 1_002)
            let again = try StoredBan(field: StoredBan.field(subject), value: stored.value, seal("s"))
            #expect(again == stored && again.expiresAt == 7 && again.reason == reason)
            #expect(again.ban(now: 900).rest == .milliseconds(102) && again.ban(now: 2_000).rest == .zero)
        }
    }

    @Test("One that was made without the secret, for somebody else, or with another end is ignored")
    func forged() {
        let stored = StoredBan(
            ClusterBan(subject: network, rest: .seconds(1), expiresAt: 7, reason: "x"),
            now: 1_000,
            seal("s")
        )
        let value = String(buffer: stored.value)
        #expect(throws: Never.self) { try read("ip 10.0.0.0/8", value, seal("s")).get() }
        #expect(read("ip 10.0.0.0/8", value, seal("t")) == .failure(.notSealed))
        #expect(read("ip 11.0.0.0/8", value, seal("s")) == .failure(.notSealed))
        #expect(read("ip 10.0.0.0/8", "1 9" + value.dropFirst(2), seal("s")) == .failure(.otherEnd))
    }

    @Test(
        "Whatever else stands there is ignored",
        arguments: [
            ("ip 10.0.0.0/8", ""), ("ip 10.0.0.0/8", "1"), ("ip 10.0.0.0/8", "1 5"), ("ip 10.0.0.0/8", "1 5 "),
            ("ip 10.0.0.0/8", "2 5 5 6 x"), ("ip 10.0.0.0/8", "1 -5 -5 6 x"), ("ip 10.0.0.0/8", "1 05 05 6 x"),
            ("ip 10.0.0.0/8", "1 5 5 x"), ("ip 10.0.0.0/8", "1 9223372036854775807 9223372036854775807 6 x"),
            ("ip 10.0.0.1/8", "1 5 5 6 x"), ("ip 10.0.0.0/08", "1 5 5 6 x"), ("ip ", "1 5 5 6 x"),
            ("ip 010.0.0.0/8", "1 5 5 6 x"), ("ip ::ffff:10.0.0.0/104", "1 5 5 6 x"), ("user ", "1 5 5 6 x"),
            ("user", "1 5 5 6 x"), ("", "1 5 5 6 x"), ("group x", "1 5 5 6 x"),
            ("user " + String(repeating: "x", count: 257), "1 5 5 6 x"),
            ("user x", "1 5 5 6 " + String(repeating: "x", count: 5_000)),
        ]
    )
    func malformed(field: String, value: String) {
        #expect(read(field, value) == .failure(.malformed))
    }

    @Test("Times and lengths that cannot be do no harm", arguments: [.min, -1, 0, .max] as [Int64])
    func hostile(number: Int64) {
        let ban = ClusterBan(
            subject: network,
            rest: .nanoseconds(number),
            expiresAt: number,
            reason: String(repeating: "ü", count: 10_000)
        )
        let stored = StoredBan(ban, now: number, .none)
        #expect((try? StoredBan(field: "ip 10.0.0.0/8", value: stored.value, .none)) == stored)
        #expect(stored.reason.utf8.count == 256)
        #expect(stored.ban(now: number).rest >= .zero)
    }

    @Test("A message names a change, or none")
    func messages() {
        func change(_ text: String) -> BanChange? { BanChange(ByteBuffer(string: text)) }
        #expect(change("1 7")?.number == 7 && change("1 7")?.field == nil)
        let put = change("1 7 9 user a b\n 1 5 x y")
        #expect(put?.field == "user a b\n" && put?.value == ByteBuffer(string: "1 5 x y"))
        let removed = change("1 7 6 user a ")
        #expect(removed?.field == "user a" && removed != nil && removed?.value == nil)
        for text in [
            "", " ", "1", "1 ", "2 7", "1 x", "1 0", "1 -1", "1 7 x", "1 7 0 a ", "1 7 -1 a ", "1 7 9 user",
            "1 7 9223372036854775807 user a ", "1 7 6 user a",
        ] {
            #expect(change(text) == nil, "\(text)")
        }
        #expect(BanChange(ByteBuffer(bytes: Array("1 7 1 ".utf8) + [0xFF, 0x20])) == nil)
    }
}
