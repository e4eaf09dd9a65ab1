import NIOCore
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

@Suite("Bans over several nodes", .serialized, .timeLimit(.minutes(2)), .enabled(if: RedisProcess.isInstalled))
struct RedisBansTests {
    private static let server = Task { try await RedisProcess() }
    private let prefix = "bans-\(UInt64.random(in: 0 ... .max))"
    private var keys: ClusterKeys { ClusterKeys(prefix: prefix) }
    private let eve = BanSubject.user("eve")
    private let network = BanSubject.network(IPNetwork(IPAddress(v4: 0x0A00_0000), prefixLength: 8))

    private func node(_ server: RedisProcess? = nil, secret: String? = nil) async throws -> PartNode {
        let server = if let server { server } else { try await Self.server.value }
        return try await PartNode(server, prefix: prefix, secret: secret)
    }

    private func shell() async throws -> RedisShell { RedisShell(port: try await Self.server.value.port) }

    /// Fills the engine with bans of users, which end after so many milliseconds.
    private func fill(_ count: Int, _ shell: RedisShell, endAfter rest: Int64 = 3_600_000) throws {
        let script = """
            for index = 1, tonumber(ARGV[1]) do
              redis.call('HSET', KEYS[1], 'user filler-' .. index, '1 ' .. ARGV[2] .. ' ' .. ARGV[2] .. ' 0 filler')
            end
            redis.call('INCR', KEYS[2])
            """
        let end = TestClock.unixMilliseconds() + rest
        try shell.run("EVAL", script, "2", keys.bans, keys.banVersion, "\(count)", "\(end)")
    }

    @Test("A ban holds on all nodes within two seconds, with its end and reason, and so does its removal")
    func everywhere() async throws {
        let (one, other) = (try await node(), try await node())
        let began = ContinuousClock.now
        #expect(try await one.ban(eve, for: .hours(1), reason: "spam, again") == .added)
        #expect(one.banned == [eve])
        let isThere = await eventually { other.banned == [eve] }
        #expect(isThere && ContinuousClock.now - began < .seconds(2))
        let ban = try #require(other.told.bans.last?.first)
        #expect(ban.reason == "spam, again" && ban == one.told.bans.last?.first.map { $0.withRest(of: ban) })
        #expect(ban.rest > .minutes(59) && ban.rest <= .minutes(60) + .milliseconds(1))
        #expect(try await other.ban(eve, for: .minutes(5)) == .replaced)
        let isShorter = await eventually { (one.told.bans.last?.first?.rest ?? .hours(1)) < .minutes(6) }
        #expect(isShorter)
        #expect(try await other.ban(network) == .added)
        let areTwo = await eventually { one.banned == [eve, network] }
        #expect(areTwo)
        #expect(try await one.bans.remove(eve))
        #expect(one.banned == [network])
        let isGone = await eventually { other.banned == [network] }
        #expect(isGone)
        #expect(try await !other.bans.remove(eve))
        let late = try await node()
        let isLoaded = await eventually { late.banned == [network] }
        #expect(isLoaded)
    }

    @Test("A ban ends, and then is neither told nor found")
    func ends() async throws {
        let node = try await node()
        #expect(try await node.ban(eve, for: .milliseconds(300)) == .added)
        #expect(node.banned == [eve])
        let rest = try #require(node.told.bans.last?.first?.rest)
        #expect(rest > .zero && rest <= .milliseconds(302))
        let end = ContinuousClock.now + .milliseconds(302)
        let isOver = await eventually { ContinuousClock.now >= end }
        #expect(isOver)
        #expect(try await node.ban(network) == .added)
        #expect(node.banned == [network])
        let other = try await self.node()
        let isLoaded = await eventually { other.banned == [network] }
        #expect(isLoaded)
        #expect(try await !node.bans.remove(eve))
        #expect(try await node.ban(eve, for: .milliseconds(1)) == .added)
    }

    @Test("An automatic ban never shortens another one, but lengthens it")
    func automatic() async throws {
        let (one, other) = (try await node(), try await node())
        #expect(try await one.ban(eve, for: .hours(2), reason: "operator") == .added)
        #expect(try await other.ban(eve, for: .hours(1), isAutomatic: true) == .replaced)
        for node in [one, other] {
            let isKept = await eventually { node.told.bans.last?.first?.reason == "operator" }
            #expect(isKept)
        }
        #expect(try await other.ban(eve, for: .hours(3), reason: "longer", isAutomatic: true) == .replaced)
        let isLonger = await eventually { one.told.bans.last?.first?.reason == "longer" }
        #expect(isLonger)
        #expect(try await one.ban(eve, for: .minutes(1)) == .replaced)
        let isShorter = await eventually { (other.told.bans.last?.first?.rest ?? .hours(1)) <= .minutes(2) }
        #expect(isShorter)
    }

    @Test("10,000 bans are loaded; then there is no room, until some have ended; automatic ones use half of it")
    func full() async throws {
        let (node, shell) = (try await node(), try await shell())
        try fill(4_999, shell)
        #expect(try await node.ban(eve, isAutomatic: true) == .added)
        #expect(try await node.ban(network, isAutomatic: true) == .full)
        #expect(try await node.ban(eve, for: .hours(2), isAutomatic: true) == .replaced)
        try fill(9_999, shell)
        #expect(try await node.ban(network) == .full)
        #expect(try await node.ban(eve) == .replaced)
        let began = ContinuousClock.now
        let other = try await self.node()
        let areLoaded = await eventually { other.banned.count == 10_000 }
        #expect(areLoaded && other.banned.contains(eve))
        #expect(ContinuousClock.now - began < .seconds(5))
        // Ended ones are removed at the next ban of somebody else, at the latest when one was expected to end.
        try fill(6_000, shell, endAfter: -1)
        try shell.run("DEL", keys.nextBanEnd)
        #expect(try await node.ban(network) == .added)
        #expect(try shell.run("HLEN", keys.bans) == "4001\n")
        let isSmaller = await eventually { other.banned.count == 4_001 }
        #expect(isSmaller)
    }

    @Test("Room that is taken by bans that end soon is free again when they have ended")
    func room() async throws {
        let (node, shell) = (try await node(), try await shell())
        try fill(9_999, shell)
        #expect(try await node.ban(eve, for: .milliseconds(200)) == .added)
        #expect(try await node.ban(network) == .full)
        let deadline = ContinuousClock.now + .seconds(5)
        while try await node.ban(network) == .full, ContinuousClock.now < deadline { await Task.yield() }
        #expect(try await node.bans.remove(network))
    }

    @Test("Bans outlive an engine that is emptied, on all nodes, and those made since stay")
    func emptied() async throws {
        let (one, other, shell) = (try await node(), try await node(), try await shell())
        let many = (0..<1_100).map { BanSubject.user("user-\($0)") }
        for subject in many { try await one.ban(subject) }
        try await one.ban(network)
        let areThere = await eventually { other.banned == Set(many + [network]) }
        #expect(areThere)
        try shell.run("DEL", keys.bans, keys.banVersion, keys.nextBanEnd)
        // As after `FLUSHALL`, which nobody is told of: a ban shows it.
        try await other.ban(eve)
        #expect(other.banned == Set(many + [network, eve]))
        let areBack = try await eventually(matching: { try shell.run("HLEN", keys.bans) == "1102\n" })
        #expect(areBack)
        for node in [one, other] {
            let areAll = await eventually { node.banned == Set(many + [network, eve]) }
            #expect(areAll)
        }
        // And where nothing is banned, the number of changes shows it.
        try shell.run("DEL", keys.bans, keys.banVersion)
        _ = await one.ask { $0.bans.check(nil) }
        let areBackAgain = try await eventually(matching: { try shell.run("HLEN", keys.bans) == "1102\n" })
        #expect(areBackAgain)
        #expect(try await one.bans.remove(eve))
        let isGone = await eventually { other.banned == Set(many + [network]) }
        #expect(isGone)
    }

    @Test("After a failover that has lost the last changes, a ban that is known is put back")
    func lostTail() async throws {
        let (one, shell) = (try await node(), try await shell())
        try await one.ban(network)
        try await one.ban(eve)
        try shell.run("HDEL", keys.bans, "user eve")
        try shell.run("DECR", keys.banVersion)
        // Another node's ban gets the lost one's number.
        let other = try await node()
        try await other.ban(.user("new"))
        for node in [one, other] {
            let areAll = await eventually { node.banned == [network, eve, .user("new")] }
            #expect(areAll)
        }
    }

    @Test("While the engine is away the known bans hold, and changes fail; afterwards what has changed is known")
    func away() async throws {
        let server = try await RedisProcess()
        let (one, other) = (try await node(server), try await node(server))
        try await one.ban(eve)
        let isThere = await eventually { other.banned == [eve] }
        #expect(isThere)
        server.signal(19)  // SIGSTOP
        await #expect(throws: StoreFailure.self) { try await one.ban(network) }
        let isDown = await eventually(matching: { await one.ask { $0.context.client.isUp } == false })
        #expect(isDown)
        let began = ContinuousClock.now
        await #expect(throws: StoreFailure.self) { try await one.ban(network) }
        await #expect(throws: StoreFailure.self) { try await one.bans.remove(eve) }
        #expect(ContinuousClock.now - began < .milliseconds(300))
        #expect(one.banned == [eve] && other.banned == [eve])
        server.signal(18)  // SIGCONT
        let isUp = await eventually(matching: { await one.ask { $0.context.client.isUp } == true })
        #expect(isUp)
        let isRemoved = await eventually(matching: { (try? await one.bans.remove(eve)) != nil })
        #expect(isRemoved)
        let isGone = await eventually { !other.banned.contains(eve) && !one.banned.contains(eve) }
        #expect(isGone)
    }

    @Test(
        "What was written without the secret, or cannot be read, bans nobody, and does not keep others from being banned"
    )
    func forged() async throws {
        let (one, stranger, shell) = (try await node(secret: "s"), try await node(secret: "t"), try await shell())
        try await one.ban(eve)
        try await stranger.ban(network)
        let isIgnored = await eventually { stranger.banned == [network] && one.banned == [eve] }
        #expect(isIgnored)
        let end = TestClock.unixMilliseconds() + 3_600_000
        for (field, value) in [
            ("user x", "1 \(end) \(end) 0 no secret"), ("user y", "text"), ("nobody", "1 \(end) suser x:\(end) 0 x"),
            ("user z", "1 \(end) suser x:\(end) 0 for another"), ("user w", "1 \(end) suser w:\(end - 1) 0 other end"),
        ] {
            try shell.run("HSET", keys.bans, field, value)
        }
        for payload in ["", "x", "1 99999999999999999999", "1 4 99 x"] {
            try shell.run("PUBLISH", keys.banTopic, payload)
        }
        _ = await one.ask { $0.bans.check(77) }
        let fresh = try await node(secret: "s")
        let isRead = await eventually { fresh.banned == [eve] }
        #expect(isRead)
        try await fresh.ban(.user("last"))
        let isLast = await eventually { one.banned == [eve, .user("last")] }
        #expect(isLast)
        for type in ["SET", "LPUSH"] {
            try shell.run("DEL", keys.bans)
            try shell.run(type, keys.bans, "x")
            await #expect(throws: StoreFailure.self) { try await one.ban(network) }
            #expect(one.banned == [eve, .user("last")])
        }
        try shell.run("DEL", keys.bans)
        let isBack = try await eventually(matching: {
            _ = await one.ask { $0.bans.check(nil) }
            return try shell.run("HLEN", keys.bans) == "2\n"
        })
        #expect(isBack)
    }

    @Test("The bans are told only when they have changed")
    func quiet() async throws {
        let node = try await node()
        try await node.ban(eve)
        #expect(node.told.bans.count == 1)
        for _ in 0..<5 {
            _ = await node.ask { parts in
                parts.bans.check(99)
                parts.bans.engineIsUp()
                parts.bans.subscribed(parts.context.keys.banTopic)
            }
        }
        try await node.ban(network)
        #expect(node.told.bans.count == 2)
    }
}

extension ClusterBan {
    /// The same, but for how long it lasts from now, which each node computes for itself.
    fileprivate func withRest(of other: ClusterBan) -> ClusterBan {
        ClusterBan(subject: subject, rest: other.rest, expiresAt: expiresAt, reason: reason)
    }
}
