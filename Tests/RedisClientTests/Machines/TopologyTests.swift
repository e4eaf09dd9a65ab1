import NIOCore
import Testing

@testable import RedisClient

@Suite("Slots, redirects, Sentinels")
struct TopologyTests {
    @Test("Slots are those of the specification")
    func slots() {
        let digits = Array("123456789".utf8)
        #expect(HashSlot.crc16(digits.span, 0..<9) == 0x31C3)
        #expect(HashSlot.of("foo") == 12_182)
        #expect(HashSlot.of("bar") == 5_061)
        #expect(HashSlot.of("") == 0)
        #expect(HashSlot.of("{user1000}.following") == HashSlot.of("user1000"))
        #expect(HashSlot.of("foo{bar}{zap}") == HashSlot.of("bar"))
        #expect(HashSlot.of("foo{{bar}}zap") == HashSlot.of("{bar"))
        #expect(HashSlot.of("foo{}{bar}") == HashSlot.of(Array("foo{}{bar}".utf8).span))
        #expect(HashSlot.of("foo{}{bar}") != HashSlot.of("bar"))
        for odd in ["{", "}", "{}", "}{", "a{", "a}{b"] { #expect(HashSlot.all.contains(HashSlot.of(odd))) }
    }

    @Test("The reply to CLUSTER SLOTS is read, with the host that was asked where none is named")
    func table() throws {
        let text =
            "*2\r\n*4\r\n:0\r\n:8191\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$1\r\na\r\n*2\r\n$9\r\n127.0.0.1\r\n:7003\r\n"
            + "*3\r\n:8192\r\n:16383\r\n*3\r\n_\r\n:7001\r\n$1\r\nb\r\n"
        var table = try #require(SlotTable(RESPText.one(text), asked: "here"))
        #expect(table.masters == [RedisAddress(host: "127.0.0.1", port: 7000), RedisAddress(host: "here", port: 7001)])
        #expect(table.nodes.contains(RedisAddress(host: "127.0.0.1", port: 7003)))
        #expect(table.owner(of: 8_191)?.port == 7_000 && table.owner(of: 8_192)?.port == 7_001)
        #expect(table.owner(of: 16_384) == nil && table.owner(of: -1) == nil)
        let before = table
        table.setOwner(of: 5, RedisAddress(host: "new", port: 1))
        table.setOwner(of: 99_999, RedisAddress(host: "new", port: 1))
        #expect(table.owner(of: 5)?.host == "new")
        #expect(table.changes(from: before) == [5])
    }

    @Test(
        "Replies of another shape are no slots",
        arguments: [
            "_\r\n", "*0\r\n", "+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n+h\r\n:1\r\n",
            "*1\r\n*3\r\n:-1\r\n:5\r\n*2\r\n+h\r\n:1\r\n", "*1\r\n*3\r\n:6\r\n:5\r\n*2\r\n+h\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n+h\r\n:0\r\n", "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n+h\r\n:65536\r\n",
            "*1\r\n*3\r\n:0\r\n:5\r\n*1\r\n+h\r\n", "*1\r\n*2\r\n:0\r\n:5\r\n",
            "*1\r\n*3\r\n+x\r\n:5\r\n*2\r\n+h\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:9223372036854775807\r\n*2\r\n+h\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n+a b\r\n:1\r\n",
            "%1\r\n:0\r\n:5\r\n",
        ]
    )
    func badTables(text: String) throws {
        #expect(SlotTable(try RESPText.one(text), asked: "here") == nil)
    }

    @Test("Redirects name slot and server")
    func redirects() {
        func redirect(_ text: String) -> Redirect? { Redirect(RedisErrorReply(text), asked: "here") }
        let moved = Redirect.moved(slot: 3999, to: RedisAddress(host: "127.0.0.1", port: 6381))
        #expect(redirect("MOVED 3999 127.0.0.1:6381") == moved)
        #expect(redirect("MOVED 3999 :6381") == .moved(slot: 3999, to: RedisAddress(host: "here", port: 6381)))
        #expect(redirect("ASK 1 ::1:7000") == .ask(RedisAddress(host: "::1", port: 7000)))
        #expect(redirect("READONLY x") == .notMaster && redirect("MASTERDOWN x") == .notMaster)
        #expect(redirect("LOADING x") == .loading && redirect("TRYAGAIN x") == .tryAgain)
        #expect(redirect("CLUSTERDOWN x") == .clusterDown)
        for other in [
            "MOVED", "MOVED 1", "MOVED x a:1", "MOVED 16384 a:1", "MOVED -1 a:1", "MOVED 1 a", "MOVED 1 a:0",
            "MOVED 1 a:99999", "MOVED 1 a:1 b", "ERR x", "BUSY x", "OOM x",
        ] {
            #expect(redirect(other) == nil, "\(other)")
        }
    }

    @Test("What Sentinels say is read, and other replies are not")
    func sentinels() throws {
        let reply = try RESPText.one("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n")
        #expect(SentinelReply.address(reply, asked: "") == RedisAddress(host: "127.0.0.1", port: 6379))
        for bad in ["_\r\n", "*-1\r\n", "*0\r\n", "*2\r\n+\r\n:1\r\n", "*2\r\n+a\r\n+b\r\n", "*1\r\n+a\r\n"] {
            #expect(SentinelReply.address(try RESPText.one(bad), asked: "x") == nil)
        }
        let message = "mymaster 127.0.0.1 7000 127.0.0.1 7001"
        #expect(SentinelReply.switchedMaster(message, service: "mymaster")?.port == 7_001)
        #expect(SentinelReply.switchedMaster(message, service: "other") == nil)
        for bad in ["", "mymaster", "mymaster a 1 b x", "mymaster a 1 b 0", "mymaster a 1 b 2 c"] {
            #expect(SentinelReply.switchedMaster(bad, service: "mymaster") == nil)
        }
    }

    @Test("Roles are read from INFO and ROLE")
    func roles() throws {
        let info = "# Replication\r\nrole:master\r\nmaster_replid:abc\r\nx\r\n:y\r\n"
        let value = RESPValue.verbatim(format: "txt", ByteBuffer(string: info))
        #expect(ServerRole(info: value)?.isMaster == true)
        #expect(ServerRole(info: value)?.replicationID == "abc")
        #expect(ServerRole(info: .bulk(ByteBuffer(string: "role:slave\r\n")))?.isMaster == false)
        #expect(ServerRole(info: .bulk(ByteBuffer())) == nil)
        #expect(ServerRole(info: .integer(1)) == nil)
        #expect(ServerRole(role: try RESPText.one("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"))?.isMaster == true)
        #expect(ServerRole(role: try RESPText.one("*1\r\n$5\r\nslave\r\n"))?.isMaster == false)
        #expect(ServerRole(role: .array([])) == nil && ServerRole(role: .array([.integer(1)])) == nil)
        #expect(RedisVersion("7.0.15") == RedisVersion(7, 0) && RedisVersion("6.2") == RedisVersion(6, 2))
        #expect(RedisVersion("7") == nil && RedisVersion("") == nil && RedisVersion("a.b") == nil)
        #expect(RedisVersion(6, 2) < RedisVersion(7, 0) && RedisVersion(10, 0) > RedisVersion(9, 9))
    }
}
