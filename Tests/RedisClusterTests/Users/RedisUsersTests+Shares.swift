import NIOCore
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

extension RedisUsersTests {
    @Test("Each node is told on how many nodes its users are; while the engine is away, of all nodes")
    func shares() async throws {
        let server = try await RedisProcess()
        let nodes = try await nodes(3, server, sharesRates: true)
        func shares(_ node: Int) -> [Int] { nodes[node].told.shares[ann] ?? [] }
        #expect(try await nodes[0].open(ann, limit: .max))
        let isFirst = await eventually(matching: { shares(0) == [1] })
        #expect(isFirst)
        #expect(try await nodes[1].open(ann, limit: 10))
        let areTwo = await eventually(matching: { shares(0) == [1, 2] && shares(1) == [2] })
        #expect(areTwo)
        #expect(try await nodes[1].open(ann, limit: 10))
        #expect(try await nodes[0].open("bob", limit: 10))
        for _ in 0..<2 { nodes[1].users.close(ann) }
        let isOne = await eventually(matching: { shares(0) == [1, 2, 1] })
        #expect(isOne && shares(1) == [2] && shares(2) == [])
        #expect(try await nodes[1].open(ann, limit: 10))
        let areTwoAgain = await eventually(matching: { shares(0) == [1, 2, 1, 2] })
        #expect(areTwoAgain)
        #expect(try await nodes[2].clear(nodes[1].incarnation))
        let isAlone = await eventually(matching: { shares(0) == [1, 2, 1, 2, 1] })
        #expect(isAlone)
        server.signal(19)  // SIGSTOP
        let isAway = try await eventually(matching: {
            _ = try await nodes[0].open("carl", limit: 10)
            return shares(0).last == 3
        })
        #expect(isAway && nodes[0].told.shares["carl"]?.last == 3)
        server.signal(18)  // SIGCONT
        let isBack = await eventually(matching: { shares(0).last == 1 && nodes[0].told.shares["carl"]?.last == 1 })
        #expect(isBack)
        #expect(nodes[0].told.shares["bob"] == [1, 3, 1])
    }

    @Test("Messages about shares that cannot be read, or are older than what is known, are ignored")
    func messages() async throws {
        let node = try await nodes(1, sharesRates: true)[0]
        #expect(try await node.open(ann, limit: 5))
        let topic = keys.userTopic(ClusterKeys.tag(of: ann))
        func receive(_ text: String) async { _ = await node.ask { $0.users.received(topic, ByteBuffer(string: text)) } }
        await receive("5 2 " + ann.text)
        for text in [
            "", "x", "6 0 \(ann)", "6 -1 \(ann)", "99999999999999999999 3 \(ann)", "6 3 nobody", "4 3 \(ann)", "6",
        ] {
            await receive(text)
        }
        #expect(node.told.shares == [ann: [1, 2]])
        await receive("6 \(Int.max) \(ann)")
        #expect(node.told.shares[ann]?.last == .max)
    }

    @Test("In a Redis Cluster everything lies in the slots where it may")
    func cluster() async throws {
        let port = try RedisProcess.freePort()
        let server = try await RedisProcess(arguments: ["--cluster-enabled", "yes", "--cluster-port", "\(port)"])
        let shell = RedisShell(port: server.port)
        try shell.run("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        let isReady = try await eventually(matching: { try shell.run("CLUSTER", "INFO").contains("cluster_state:ok") })
        try #require(isReady)
        var nodes: [PartNode] = []
        for _ in 0..<2 {
            nodes.append(
                try await PartNode(server, prefix: prefix, nodes: 2, sharesRates: true, isCluster: true)
            )
        }
        let users = (0..<40).map { UserName("user-\($0)") }
        for user in users {
            for node in nodes { #expect(try await node.open(user, limit: 2)) }
            #expect(try await !nodes[0].open(user, limit: 2))
        }
        let areTold = await eventually(matching: { users.allSatisfy { nodes[0].told.shares[$0]?.last == 2 } })
        #expect(areTold)
        #expect(try await nodes[0].clear(nodes[1].incarnation))
        let areAlone = await eventually(matching: { users.allSatisfy { nodes[0].told.shares[$0]?.last == 1 } })
        #expect(areAlone)
        #expect(try await nodes[0].open("last", limit: 2))
        let subject = BanSubject.user("eve")
        #expect(try await nodes[0].ban(subject) == .added)
        let isBanned = await eventually(matching: { nodes[1].banned == [subject] })
        #expect(isBanned)
    }
}
