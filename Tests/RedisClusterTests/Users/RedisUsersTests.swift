import NIOCore
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

@Suite("Users over several nodes", .serialized, .timeLimit(.minutes(2)), .enabled(if: RedisProcess.isInstalled))
struct RedisUsersTests {
    private static let server = Task { try await RedisProcess() }
    let prefix = "users-\(UInt64.random(in: 0 ... .max))"
    var keys: ClusterKeys { ClusterKeys(prefix: prefix) }
    let ann: UserName = "ann }:u:{\"*"

    func nodes(_ count: Int, _ server: RedisProcess? = nil, sharesRates: Bool = false) async throws
        -> [PartNode]
    {
        var nodes: [PartNode] = []
        for _ in 0..<count {
            let server = if let server { server } else { try await Self.server.value }
            nodes.append(try await PartNode(server, prefix: prefix, nodes: count, sharesRates: sharesRates))
        }
        return nodes
    }

    /// What the engine counts for a user, by incarnation.
    private func counted(_ user: UserName, _ shell: RedisShell) throws -> [String: String] {
        let lines = try shell.run("HGETALL", keys.userConnections(user)).split(separator: "\n").map(String.init)
        return Dictionary(
            uniqueKeysWithValues: stride(from: 0, to: lines.count - 1, by: 2).map { (lines[$0], lines[$0 + 1]) }
        )
    }

    private func shell() async throws -> RedisShell { RedisShell(port: try await Self.server.value.port) }

    @Test("When many open at once on three nodes, exactly as many count as may; all closed, all are free again")
    func exact() async throws {
        let nodes = try await nodes(3)
        for round in 0..<5 {
            let granted = try await withThrowingTaskGroup(of: Int.self) { group in
                for node in nodes { group.addTask { try await node.open(ann, times: 40, limit: 50) } }
                return try await group.reduce(0, +)
            }
            #expect(granted == 50, "round \(round)")
            var counts: [Int] = []
            for node in nodes { counts.append(await node.count(ann)) }
            #expect(counts.reduce(0, +) == 50)
            for node in nodes { #expect(try await !node.open(ann, limit: 50)) }
            for (node, count) in zip(nodes, counts) { for _ in 0..<count { node.users.close(ann) } }
            let isFree = try await eventually(matching: { try shellIsEmpty(try await shell()) })
            #expect(isFree)
        }
        for node in nodes {
            let isEmpty = await eventually { await node.sizes == [0, 0, 0] }
            #expect(isEmpty)
        }
    }

    private func shellIsEmpty(_ shell: RedisShell) throws -> Bool {
        try shell.run("EXISTS", keys.userConnections(ann)).hasPrefix("0")
    }

    @Test("While some open and close without pause there are never more than may be")
    func churn() async throws {
        let nodes = try await nodes(3)
        let shell = try await shell()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes {
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<60 where try await node.open(ann, limit: 5) { node.users.close(ann) }
                    }
                }
            }
            group.addTask {
                for _ in 0..<100 {
                    let sum = try counted(ann, shell).values.reduce(0) { $0 + (Int($1) ?? 1_000) }
                    #expect(sum <= 5)
                }
            }
            try await group.waitForAll()
        }
        let isFree = try await eventually(matching: { try shellIsEmpty(shell) })
        #expect(isFree)
    }

    @Test("Without a limit nobody waits, and the engine is told")
    func unlimited() async throws {
        let nodes = try await nodes(2)
        let shell = try await shell()
        for _ in 0..<7 { #expect(try await nodes[0].open(ann, limit: .max)) }
        let isTold = try await eventually(matching: { try counted(ann, shell) == [nodes[0].incarnation: "7"] })
        #expect(isTold)
        #expect(try await !nodes[1].open(ann, limit: 7))
        #expect(try await nodes[1].open(ann, limit: 8))
        let set = try shell.run("SMEMBERS", keys.users(ClusterKeys.tag(of: ann), of: nodes[0].incarnation))
        #expect(set == ann.text + "\n")
    }

    @Test("A lost node is taken out, and what it still sends does not count")
    func lostNode() async throws {
        let nodes = try await nodes(2)
        let shell = try await shell()
        let users = (0..<1_200).map { UserName("user-\($0)") }
        for user in users { nodes[0].users.open(user, limit: .max) { _ in } }
        #expect(try await nodes[0].open(ann, limit: 1))
        #expect(try await !nodes[1].open(ann, limit: 1))
        let areTold = try await eventually(matching: { try counted(users[1_199], shell).count == 1 })
        #expect(areTold)
        #expect(try await nodes[1].clear(nodes[0].incarnation))
        let left = try shell.run("KEYS", prefix + "*").split(separator: "\n").filter {
            $0.contains(":u:") || $0.contains(":v:")
        }
        #expect(left.isEmpty)
        #expect(try await nodes[1].open(ann, limit: 1))
        // It does not know yet that it is lost, and grants by its share without being counted.
        #expect(try await nodes[0].open("other", limit: 4))
        #expect(try await nodes[0].open("other", limit: 4))
        #expect(try await !nodes[0].open("other", limit: 4))
        #expect(try counted("other", shell).isEmpty)
    }

    @Test("A command that arrives after its node has given it up changes nothing")
    func lateCommand() async throws {
        let shell = try await shell()
        let tag = ClusterKeys.tag(of: ann)
        func run(_ era: Int, _ own: Int) throws -> String {
            try shell.run(
                "EVAL",
                UserScripts.count.source,
                "4",
                keys.userConnections(ann),
                keys.users(tag, of: "me"),
                keys.userEra(tag, of: "me"),
                keys.userChanges(tag),
                "me",
                "\(era)",
                "\(own)",
                "\(own)",
                "0",
                ann.text,
                "",
                ""
            )
        }
        #expect(try run(1, 3) == "3\n1\n0\n")
        // The same again, as after a reply that was lost.
        #expect(try run(1, 3) == "3\n1\n0\n")
        #expect(try counted(ann, shell) == ["me": "3"])
        #expect(try run(2, 0) == "0\n0\n0\n")
        #expect(try run(1, 3) == "-1\n0\n0\n")
        #expect(try counted(ann, shell).isEmpty)
    }

    @Test("Numbers of others that cannot be read do no harm; one's own key of another type means the share")
    func malformed() async throws {
        let nodes = try await nodes(2)
        let shell = try await shell()
        for value in ["x", "-5", "inf", "1e9", ""] {
            try shell.run("HSET", keys.userConnections(ann), "stranger-\(value)", value)
        }
        #expect(try await nodes[0].open(ann, limit: 1))
        #expect(try await !nodes[1].open(ann, limit: 1))
        try shell.run("SET", keys.userConnections("bad"), "text")
        #expect(try await nodes[0].open("bad", times: 5, limit: 6) == 3)
        try shell.run("DEL", keys.userConnections("bad"))
        let isTold = try await eventually(matching: { try counted("bad", shell) == [nodes[0].incarnation: "3"] })
        #expect(isTold)
    }

    @Test("Under a new incarnation everything is told again")
    func newIncarnation() async throws {
        let node = try await nodes(1)[0]
        let shell = try await shell()
        #expect(try await node.open(ann, times: 3, limit: 3) == 3)
        #expect(try await node.clear(node.incarnation))
        _ = await node.ask { parts in
            parts.context.incarnation = "new"
            parts.users.announceAll()
        }
        let isTold = try await eventually(matching: { try counted(ann, shell) == ["new": "3"] })
        #expect(isTold)
        #expect(try await !node.open(ann, limit: 3))
        node.users.close(ann)
        #expect(try await node.open(ann, limit: 3))
    }

    // MARK: Away

    @Test("While the engine is away each node grants its share; afterwards the engine has the numbers")
    func away() async throws {
        let server = try await RedisProcess()
        let nodes = try await nodes(3, server)
        let shell = RedisShell(port: server.port)
        #expect(try await nodes[0].open(ann, times: 2, limit: 7) == 2)
        server.signal(19)  // SIGSTOP
        // The wait for the engine is once, long before the connection is given up.
        let began = ContinuousClock.now
        for number in 0..<50 { #expect(try await nodes[1].open("user-\(number)", limit: 4)) }
        #expect(ContinuousClock.now - began < .milliseconds(1_500))
        // 7 / 3 = 2: the first has its share already.
        #expect(try await nodes[0].open(ann, times: 3, limit: 7) == 0)
        #expect(try await nodes[1].open(ann, times: 3, limit: 7) == 2)
        #expect(try await nodes[2].open("bob", times: 3, limit: 1) == 1)
        nodes[0].users.close(ann)
        nodes[1].users.close("user-0")
        server.signal(18)  // SIGCONT
        let areTold = try await eventually(matching: {
            try counted(ann, shell) == [nodes[0].incarnation: "1", nodes[1].incarnation: "2"]
                && counted("bob", shell) == [nodes[2].incarnation: "1"]
                && counted("user-0", shell).isEmpty && counted("user-49", shell) == [nodes[1].incarnation: "1"]
        })
        #expect(areTold)
        for node in nodes {
            let isSettled = await eventually(matching: { await node.sizes[1...] == [0, 0] })
            #expect(isSettled)
        }
        #expect(try await nodes[2].open(ann, times: 10, limit: 7) == 4)
        #expect(try counted(ann, shell).values.compactMap { Int($0) }.reduce(0, +) == 7)
    }

    @Test("What has closed while the engine is away takes bounded memory, and is found when it is back")
    func departed() async throws {
        let server = try await RedisProcess()
        let node = try await nodes(1, server)[0]
        let users = (0..<15_000).map { UserName("user-\($0)") }
        for user in users { node.users.open(user, limit: .max) { _ in } }
        let shell = RedisShell(port: server.port)
        let areTold = try await eventually(matching: {
            try await node.sizes[1...] == [0, 0] && counted(users[14_999], shell).count == 1
        })
        #expect(areTold)
        server.signal(19)  // SIGSTOP
        #expect(try await node.open(ann, limit: 1))
        for user in users { node.users.close(user) }
        for user in users + users + users {
            node.users.open(user, limit: .max) { _ in }
            node.users.close(user)
        }
        let sizes = await node.sizes
        #expect(sizes[0] <= 10_002 && sizes[1] <= 2 * 10_002 + 1_000)
        server.signal(18)  // SIGCONT
        let areGone = try await eventually(matching: {
            try shell.run("KEYS", prefix + "*:u:*") == keys.userConnections(ann) + "\n"
        })
        #expect(areGone)
        let isForgotten = await eventually(matching: { await node.sizes == [1, 0, 0] })
        #expect(isForgotten)
    }

    @Test("An emptied engine is told everything again, and loses what it should not have")
    func emptied() async throws {
        let node = try await nodes(1)[0]
        let shell = try await shell()
        #expect(try await node.open(ann, times: 3, limit: 3) == 3)
        try shell.run("DEL", keys.userConnections(ann), keys.users(ClusterKeys.tag(of: ann), of: node.incarnation))
        // As a replica may have it that takes over.
        let ghost: UserName = "ghost"
        try shell.run("HSET", keys.userConnections(ghost), node.incarnation, "4")
        try shell.run("SADD", keys.users(ClusterKeys.tag(of: ghost), of: node.incarnation), ghost.text)
        _ = await node.ask { $0.users.announceAll() }
        let isTold = try await eventually(matching: {
            try counted(ann, shell) == [node.incarnation: "3"] && counted(ghost, shell).isEmpty
        })
        #expect(isTold)
        let isSettled = await eventually(matching: { await node.sizes == [1, 0, 0] })
        #expect(isSettled)
    }
}
