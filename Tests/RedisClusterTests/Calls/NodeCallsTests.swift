import NIOCore
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

@Suite("Nodes ask each other", .timeLimit(.minutes(2)), .enabled(if: RedisProcess.isInstalled))
struct NodeCallsTests {
    private static let secret = "a-secret-of-sixteen-bytes-or-more"

    private func pair(_ server: RedisProcess, _ first: String?, _ second: String?) async throws -> (TestNode, TestNode)
    {
        let prefix = "calls-\(UInt64.random(in: 0 ... .max))"
        let one = try await TestNode(server, prefix: prefix, name: "one", secret: first)
        let two = try await TestNode(server, prefix: prefix, name: "two", secret: second)
        for node in [one, two] {
            let isListed = await eventually { (try? await node.names()) == ["one", "two"] }
            try #require(isListed)
        }
        return (one, two)
    }

    @Test("A question is answered by each node that was asked")
    func answers() async throws {
        let server = try await RedisProcess()
        let (one, two) = try await pair(server, Self.secret, Self.secret)
        let (first, second) = (try await one.id(), try await two.id())
        let answers: [NodeID: NodeAnswer] = try await one.ask {
            $0.calls.ask([first, second], .connection(id: "x"), $1)
        }
        #expect(answers == [first: .failed(.refused("one")), second: .failed(.refused("two"))])
        #expect(two.member.requests.contains(.connection(id: "x")))
    }

    @Test("A node that is not there is not waited for, one with another secret does not answer")
    func silence() async throws {
        let server = try await RedisProcess()
        let (one, two) = try await pair(server, Self.secret, "another-secret-of-somebody-else")
        let second = try await two.id()
        let began = NIODeadline.now()
        let nobody: [NodeID: NodeAnswer] = try await one.ask {
            $0.calls.ask(["0000000000000000"], .connection(id: "x"), $1)
        }
        #expect(nobody.isEmpty)
        #expect(NIODeadline.now() - began < .milliseconds(900))
        let answers: [NodeID: NodeAnswer] = try await one.ask { $0.calls.ask([second], .connection(id: "x"), $1) }
        #expect(answers.isEmpty)
        #expect(!two.member.requests.contains(.connection(id: "x")))
        // Of many calls one waits for it.
        let again = NIODeadline.now()
        let none: [NodeID: NodeAnswer] = try await one.ask { $0.calls.ask([second], .connection(id: "x"), $1) }
        #expect(none.isEmpty && NIODeadline.now() - again < .milliseconds(500))
        // What it did not answer while the engine was away does not count.
        let later = NIODeadline.now()
        let still: [NodeID: NodeAnswer] = try await one.ask {
            $0.calls.engineIsUp()
            $0.calls.ask([second], .connection(id: "x"), $1)
        }
        #expect(still.isEmpty && NIODeadline.now() - later >= .milliseconds(500))
    }

    @Test("What somebody else publishes in an inbox, or says again, is not carried out")
    func forged() async throws {
        let server = try await RedisProcess()
        let prefix = "calls-\(UInt64.random(in: 0 ... .max))"
        let node = try await TestNode(server, prefix: prefix, name: "one", secret: Self.secret)
        let id = try await node.id()
        let inbox = ClusterKeys(prefix: prefix).inbox(of: id)
        let shell = RedisShell(port: server.port)
        let isListening = await eventually { (try? shell.run("PUBLISH", inbox, "x"))?.hasPrefix("1") == true }
        try #require(isListening)
        for text in ["", "\n", "1 q somebody 1 1\n{}", "1 q somebody 1 1\n\u{0}{\"close\":{}}", "2 q a 1 1\n"] {
            try shell.run("PUBLISH", inbox, text)
        }
        // It is still there, and has carried out nothing but what it asks itself.
        let answers: [NodeID: NodeAnswer] = try await node.ask { $0.calls.ask([id], .connection(id: "x"), $1) }
        #expect(answers == [id: .failed(.refused("one"))])
        #expect(node.member.requests == [.connection(id: "x")])
    }
}
