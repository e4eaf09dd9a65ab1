import NIOCore
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

@Suite("Connections of lost nodes", .timeLimit(.minutes(3)), .enabled(if: RedisProcess.isInstalled))
struct LostConnectionsTests {
    private static let secret = "a-secret-of-sixteen-bytes-or-more"

    private func node(_ server: RedisProcess, _ prefix: String, _ name: String, secret: String = secret) async throws
        -> TestNode
    {
        let node = try await TestNode(server, prefix: prefix, name: name, secret: secret, lease: .seconds(1))
        let isListed = await eventually { (try? await node.names())?.contains(name) == true }
        try #require(isListed)
        return node
    }

    private func prefix() -> String { "lost-\(UInt64.random(in: 0 ... .max))" }

    /// A node with 20 connections, which is going to die.
    private func doomed() async throws -> (RedisProcess, prefix: String, TestNode, ids: [String]) {
        let server = try await RedisProcess()
        let prefix = prefix()
        let dead = try await node(server, prefix, "dead")
        let ids = (0..<20).map { "c\($0)" }
        #expect(try await dead.register(ids))
        return (server, prefix, dead, ids)
    }

    /// Waits until the survivor has been given each of these, and nothing else.
    private func takesAll(_ ids: [String], _ survivor: TestNode) async -> Bool {
        let isTold = await eventually(within: .seconds(30)) { survivor.member.adopted.count >= ids.count }
        return isTold && survivor.member.adopted.sorted() == ids.sorted()
    }

    @Test("Survivors get each connection of a lost node once, as it was registered; none that was struck")
    func adopted() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let dead = try await node(server, prefix, "dead")
        let ids = (0..<300).map { "c\($0)" }
        #expect(try await dead.register(ids))
        #expect(try await dead.register([], strike: ["c0"]))
        let (one, two) = (try await node(server, prefix, "one"), try await node(server, prefix, "two"))
        dead.broker.abandon()
        let isTold = await eventually(within: .seconds(20)) { (one.member.adopted + two.member.adopted).count >= 299 }
        #expect(isTold)
        #expect((one.member.adopted + two.member.adopted).sorted() == ids.dropFirst().sorted())
        let all = one.member.adoptedConnections + two.member.adoptedConnections
        #expect(all.allSatisfy { $0.connection == Array("connection \($0.id)".utf8) })
        #expect(all.allSatisfy { $0.identity == Array("who \($0.id)".utf8) })
        // Nothing of it is left, but for what says that they were told.
        let shell = RedisShell(port: server.port)
        let dying = try await dead.id()
        let keys = ClusterKeys(prefix: prefix)
        let isDone = await eventually(within: .seconds(20)) {
            (try? shell.run("EXISTS", keys.registered(by: dying), keys.claims(of: dying), keys.lostConnections))
                == "0\n"
        }
        #expect(isDone)
        #expect(try shell.run("EXISTS", keys.told("c1")) == "1\n")
        #expect(try shell.run("SCARD", keys.taken(from: dying)) == "299\n")
    }

    @Test("What a survivor has taken and not told when it dies, the next one tells")
    func secondDeath() async throws {
        let (server, prefix, dead, ids) = try await doomed()
        let one = try await node(server, prefix, "one")
        one.member.hold()
        dead.broker.abandon()
        let isTaken = await eventually(within: .seconds(20)) { one.member.adopted.count == 20 }
        #expect(isTaken)
        let two = try await node(server, prefix, "two")
        one.broker.abandon()
        #expect(await takesAll(ids, two))
    }

    @Test("A node that was taken for lost keeps what nobody has claimed, and can register nothing more as it was")
    func comesBack() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let node = try await node(server, prefix, "node")
        let before = try await node.id()
        #expect(try await node.register(["kept", "claimed"]))
        let keys = ClusterKeys(prefix: prefix)
        let shell = RedisShell(port: server.port)
        // As another node does it: buries, then claims.
        try shell.run("SET", keys.buried(before), "1")
        try shell.run("HDEL", keys.registered(by: before), "claimed")
        try shell.run("SADD", keys.taken(from: before), "claimed")
        #expect(try await node.register(["late"]) == false)
        try shell.run("HDEL", keys.nodeList, before)
        let isBack = await eventually(within: .seconds(10)) { (try? await node.id()) != before }
        #expect(isBack)
        #expect(node.member.again.contains(.anew(claimed: ["claimed"])))
        let isRegistered = await eventually(within: .seconds(10)) { (try? await node.register(["kept"])) == true }
        #expect(isRegistered)
    }

    @Test("A share whose taking has failed is taken again")
    func takenAgain() async throws {
        let (server, prefix, dead, ids) = try await doomed()
        let before = try await dead.id()
        let one = try await node(server, prefix, "one")
        let shell = RedisShell(port: server.port)
        try shell.run("ACL", "SETUSER", "default", "-hrandfield")
        dead.broker.abandon()
        // The script sets it before the command that fails.
        let hasTried = await eventually(within: .seconds(20)) {
            (try? shell.run("EXISTS", ClusterKeys(prefix: prefix).buried(before))) == "1\n"
        }
        #expect(hasTried && one.member.adopted.isEmpty)
        try shell.run("ACL", "SETUSER", "default", "+hrandfield")
        #expect(await takesAll(ids, one))
    }

    @Test("What the app could not be told for long is tried again, until it has answered")
    func appIsAway() async throws {
        let (server, prefix, dead, ids) = try await doomed()
        let one = try await node(server, prefix, "one")
        one.member.fail(15)
        dead.broker.abandon()
        #expect(await takesAll(ids, one))
        let keys = ClusterKeys(prefix: prefix)
        let isDone = await eventually(within: .seconds(20)) {
            (try? RedisShell(port: server.port).run("EXISTS", keys.lostConnections)) == "0\n"
        }
        #expect(isDone)
    }

    @Test("A few records that cannot be read hold up none of the others")
    func poisoned() async throws {
        let (server, prefix, dead, ids) = try await doomed()
        let before = try await dead.id()
        let registered = ClusterKeys(prefix: prefix).registered(by: before)
        for number in 0..<10 {
            try RedisShell(port: server.port).run("HSET", registered, "junk\(number)", "garbage")
        }
        let one = try await node(server, prefix, "one")
        dead.broker.abandon()
        #expect(await takesAll(ids, one))
    }

    @Test("While somebody else's key is in the way a lost node stays in the list, and nothing of it is forgotten")
    func obstructed() async throws {
        let (server, prefix, dead, ids) = try await doomed()
        let before = try await dead.id()
        let (keys, shell) = (ClusterKeys(prefix: prefix), RedisShell(port: server.port))
        let one = try await node(server, prefix, "one")
        try shell.run("SET", keys.lostConnections, "x")
        try shell.run("SET", keys.claims(of: before), "x")
        dead.broker.abandon()
        // The first of its two entries is made before the command that fails.
        let hasTried = await eventually(within: .seconds(20)) {
            (try? shell.run("HEXISTS", keys.lostNodes, before)) == "1\n"
        }
        #expect(hasTried)
        #expect(try shell.run("HEXISTS", keys.nodeList, before) == "1\n")
        try shell.run("DEL", keys.lostConnections)
        let isBuried = await eventually(within: .seconds(20)) {
            (try? shell.run("EXISTS", keys.buried(before))) == "1\n"
        }
        #expect(isBuried && one.member.adopted.isEmpty)
        #expect(try shell.run("HLEN", keys.registered(by: before)) == "20\n")
        try shell.run("DEL", keys.claims(of: before))
        #expect(await takesAll(ids, one))
    }

    @Test("A node that stops leaves to the others what is still registered, and nothing else")
    func left() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let stopping = try await node(server, prefix, "stopping")
        let quiet = try await node(server, prefix, "quiet")
        let one = try await node(server, prefix, "one")
        #expect(try await stopping.register(["told", "owed"]))
        #expect(try await stopping.register([], strike: ["told"]))
        #expect(try await quiet.register(["told too"]))
        #expect(try await quiet.register([], strike: ["told too"]))
        await quiet.broker.stop()
        await stopping.broker.stop()
        let isTold = await eventually(within: .seconds(20)) { one.member.adopted == ["owed"] }
        #expect(isTold)
        let keys = ClusterKeys(prefix: prefix)
        let isDone = await eventually(within: .seconds(20)) {
            (try? RedisShell(port: server.port).run("EXISTS", keys.lostConnections)) == "0\n"
        }
        #expect(isDone && one.member.adopted == ["owed"])
    }

    @Test("After a visit to another server a node gives up what it was before, and nobody takes that for lost")
    func formerIdentity() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let node = try await node(server, prefix, "node")
        let other = try await self.node(server, prefix, "other")
        let (keys, shell) = (ClusterKeys(prefix: prefix), RedisShell(port: server.port))
        let first = try await node.id()
        #expect(try await node.register(["open", "closed elsewhere", "claimed"]))
        let record = try shell.run("HGET", keys.nodeList, first).dropLast()
        // The other server does not know it.
        try shell.run("HDEL", keys.nodeList, first)
        let isAway = await eventually(within: .seconds(10)) { (try? await node.id()) != first }
        #expect(isAway)
        let second = try await node.id()
        let isListed = await eventually(within: .seconds(10)) {
            (try? shell.run("HEXISTS", keys.nodeList, second)) == "1\n"
        }
        #expect(isListed)
        // The first one knows what it was there, and not what it is now.
        try shell.run("DEL", keys.buried(first))
        try shell.run("HSET", keys.registered(by: first), "open", "x", "closed elsewhere", "x")
        try shell.run("SADD", keys.taken(from: first), "claimed")
        try shell.run("HSET", keys.nodeList, first, String(record))
        try shell.run("HDEL", keys.nodeList, second)
        let isBack = await eventually(within: .seconds(10)) { node.member.again.contains(.anew(claimed: ["claimed"])) }
        #expect(isBack)
        let isCleared = await eventually(within: .seconds(10)) {
            (try? shell.run("HEXISTS", keys.nodeList, first)) == "0\n"
                && (try? shell.run("EXISTS", keys.registered(by: first), keys.lostConnections)) == "0\n"
        }
        #expect(isCleared && other.member.adopted.isEmpty)
        let areBoth = await eventually(within: .seconds(10)) {
            (try? await other.names().sorted()) == ["node", "other"]
        }
        #expect(areBoth)
    }

    @Test("A node whose engine was emptied keeps all")
    func emptied() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let node = try await node(server, prefix, "node")
        let before = try await node.id()
        #expect(try await node.register(["one"]))
        try RedisShell(port: server.port).run("FLUSHALL")
        let isBack = await eventually(within: .seconds(10)) { (try? await node.id()) != before }
        #expect(isBack)
        #expect(node.member.again.contains(.anew(claimed: [])))
    }

    @Test("An earlier process's connections are the next one's, unless they were claimed or told")
    func restarted() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let old = try await node(server, prefix, "node")
        #expect(try await old.register(["own", "claimed"]))
        let keys = ClusterKeys(prefix: prefix)
        let shell = RedisShell(port: server.port)
        let before = try await old.id()
        try shell.run("HDEL", keys.registered(by: before), "claimed")
        try shell.run("HSET", keys.claims(of: before), "claimed", "somebody x")
        try shell.run("SET", keys.told("told"), "1")
        let next = try await node(server, prefix, "next")
        let box = BrokerBox()
        box.broker = next.broker
        let claimed = await RedisDirectory(front: box).claimed(among: ["own", "claimed", "told", "unknown"])
        #expect(claimed == ["claimed", "told"])
        #expect(try shell.run("HEXISTS", keys.registered(by: before), "own") == "0\n")
        old.broker.abandon()
    }

    @Test("What a node cannot read for want of the secret, it leaves to one that can")
    func otherSecret() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let dead = try await node(server, prefix, "dead", secret: "another-secret-of-somebody-else")
        let ids = (0..<20).map { "c\($0)" }
        #expect(try await dead.register(ids))
        let before = try await dead.id()
        let one = try await node(server, prefix, "one")
        dead.broker.abandon()
        let keys = ClusterKeys(prefix: prefix)
        let shell = RedisShell(port: server.port)
        let isFound = await eventually(within: .seconds(20)) {
            (try? shell.run("EXISTS", keys.lostConnections, keys.buried(before))) == "2\n"
        }
        #expect(isFound)
        let two = try await node(server, prefix, "two", secret: "another-secret-of-somebody-else")
        let isTold = await eventually(within: .seconds(20)) { two.member.adopted.count >= 20 }
        #expect(isTold)
        #expect(two.member.adopted.sorted() == ids.sorted())
        #expect(one.member.adopted.isEmpty)
        let isDone = await eventually(within: .seconds(20)) {
            (try? shell.run("EXISTS", keys.registered(by: before), keys.claims(of: before), keys.lostConnections))
                == "0\n"
        }
        #expect(isDone)
    }

    @Test("The answer to a node that comes back is the same when it asks again")
    func comesBackTwice() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let node = try await node(server, prefix, "node")
        let before = try await node.id()
        #expect(try await node.register(["a", "b"]))
        let keys = ClusterKeys(prefix: prefix)
        try RedisShell(port: server.port).run("SADD", keys.taken(from: before), "b")
        // As if the answer to the first attempt had been lost.
        try RedisShell(port: server.port).run(
            "EVAL",
            DirectoryScripts.recover.source,
            "3",
            keys.registered(by: before),
            keys.buried(before),
            keys.taken(from: before),
            "60000"
        )
        try RedisShell(port: server.port).run("HDEL", keys.nodeList, before)
        let isBack = await eventually(within: .seconds(10)) { (try? await node.id()) != before }
        #expect(isBack)
        #expect(node.member.again.contains(.anew(claimed: ["b"])))
    }

    @Test("A live node that is taken for lost joins again")
    func buriedAlive() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let node = try await node(server, prefix, "node")
        let before = try await node.id()
        #expect(try await node.register(["a"]))
        let keys = ClusterKeys(prefix: prefix)
        try RedisShell(port: server.port).run("SET", keys.buried(before), "1")
        #expect(try await node.register(["b"]) == false)
        let isBack = await eventually(within: .seconds(10)) { (try? await node.id()) != before }
        #expect(isBack)
        #expect(node.member.again.contains(.anew(claimed: [])))
        let isRegistered = await eventually(within: .seconds(10)) { (try? await node.register(["b"])) == true }
        #expect(isRegistered)
    }

    @Test("Keys of the wrong type do not keep a node from renewing its place")
    func wrongTypes() async throws {
        let server = try await RedisProcess()
        let prefix = prefix()
        let keys = ClusterKeys(prefix: prefix)
        let shell = RedisShell(port: server.port)
        for key in [keys.lostNodes, keys.lostConnections, keys.banVersion] { try shell.run("LPUSH", key, "x") }
        let node = try await node(server, prefix, "node")
        #expect(try await node.names() == ["node"])
    }
}
