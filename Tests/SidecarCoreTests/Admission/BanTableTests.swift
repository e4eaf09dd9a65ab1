import SidecarCore
import Testing

@Suite("Ban table")
struct BanTableTests {
    private func network(_ text: String) throws -> BanSubject { .network(try IPNetwork(parsing: text)) }
    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test("A ban covers its address or network and nobody else, until its end")
    func covers() throws {
        var table = BanTable()
        #expect(table.add(Ban(subject: try network("10.1.0.0/16"), until: 100, reason: ""), now: 0) == .added)
        #expect(table.add(Ban(subject: try network("192.0.2.7"), until: 50, reason: ""), now: 0) == .added)
        #expect(table.add(Ban(subject: try network("2001:db8::/64"), until: 100, reason: ""), now: 0) == .added)
        for (text, banned) in [
            ("10.1.255.1", true), ("10.2.0.1", false), ("192.0.2.7", true), ("192.0.2.8", false),
            ("::ffff:10.1.0.1", true), ("2001:db8::1:2:3:4", true), ("2001:db8:0:1::1", false),
        ] {
            #expect(table.covers(try address(text), now: 49) == banned, "\(text)")
        }
        #expect(!table.covers(try address("192.0.2.7"), now: 50))
        #expect(!table.covers(try address("10.1.0.1"), now: 100))
        #expect(table.list(now: 60).map(\.subject.value) == ["10.1.0.0/16", "2001:db8::/64"])
    }

    @Test("A second ban of the same moves the end; a lifted one is gone")
    func replaceAndRemove() {
        var table = BanTable()
        let user = BanSubject.user("42")
        #expect(table.add(Ban(subject: user, until: 10, reason: "a"), now: 0) == .added)
        #expect(table.add(Ban(subject: user, until: 20, reason: "b"), now: 0) == .replaced)
        #expect(table.ban(of: user, now: 15)?.reason == "b" && table.ban(of: .user("43"), now: 15) == nil)
        #expect(table.remove(user, now: 15) && !table.remove(user, now: 15))
        #expect(table.ban(of: user, now: 15) == nil)
    }

    @Test("At its capacity it takes no more until some have ended")
    func capacity() throws {
        var table = BanTable(capacity: 3)
        for number in 0..<3 { _ = table.add(Ban(subject: .user("\(number)"), until: 10, reason: ""), now: 0) }
        #expect(table.add(Ban(subject: .user("x"), until: 10, reason: ""), now: 9) == .full)
        #expect(table.ban(of: .user("x"), now: 9) == nil && table.count == 3)
        #expect(table.add(Ban(subject: .user("0"), until: 30, reason: ""), now: 9) == .replaced)
        #expect(table.add(Ban(subject: try network("10.0.0.1"), until: 30, reason: ""), now: 10) == .added)
        let banned = try address("10.0.0.1")
        #expect(table.count == 2 && table.covers(banned, now: 11))
    }

    @Test("Automatic bans take half of the capacity, and operators the rest")
    func automatic() {
        var table = BanTable(capacity: 4)
        func ban(_ name: String, until: Int64 = 10) -> Ban {
            Ban(subject: .user(UserName(name)), until: until, reason: "")
        }
        #expect(table.addAutomatic(ban("a"), now: 0) == .added && table.addAutomatic(ban("b"), now: 0) == .added)
        #expect(table.addAutomatic(ban("c"), now: 9) == .full && table.ban(of: .user("c"), now: 9) == nil)
        #expect(table.addAutomatic(ban("a", until: 5), now: 0) == .replaced)
        #expect(table.ban(of: .user("a"), now: 9)?.until == 10)
        #expect(table.addAutomatic(ban("a", until: 20), now: 9) == .replaced)
        #expect(table.ban(of: .user("a"), now: 19)?.until == 20)
        #expect(table.add(ban("c"), now: 9) == .added && table.add(ban("d"), now: 9) == .added)
        #expect(table.addAutomatic(ban("e"), now: 10) == .added)
    }

    @Test("What is no subject, and no duration, is refused")
    func syntax() {
        #expect(OperatorSyntax.subject(kind: "ip", value: "10.0.0.1/33") == nil)
        #expect(OperatorSyntax.subject(kind: "ip", value: "") == nil)
        #expect(OperatorSyntax.subject(kind: "user", value: "") == nil)
        #expect(OperatorSyntax.subject(kind: "user", value: String(repeating: "x", count: 257)) == nil)
        #expect(OperatorSyntax.subject(kind: "host", value: "x") == nil)
        #expect(OperatorSyntax.banDuration("999ms") == nil && OperatorSyntax.banDuration("721h") == nil)
        #expect(OperatorSyntax.banDuration("720h") != nil && OperatorSyntax.banDuration("1s") != nil)
    }
}
