import NIOCore
import Synchronization
import Testing

@testable import RedisClient

/// Clusters of a kind that the installed servers cannot be made to form.
@Suite("Clusters that a test plays", .serialized)
struct FakeClusterTests {
    /// What a cluster's node knows; set when its port is known.
    private final class Knowledge: Sendable {
        private let slots = Mutex("*0\r\n")
        private let other = Atomic(0)
        var reply: String { slots.withLock { $0 } }
        var otherPort: Int { other.load(ordering: .relaxed) }

        func owner(_ port: Int) {
            slots.withLock { $0 = "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$0\r\n\r\n:\(port)\r\n$2\r\nid\r\n" }
        }
        func say(_ text: String) { slots.withLock { $0 = text } }
        func asked(_ port: Int) { other.store(port, ordering: .relaxed) }
    }

    private func hello(_ version: String) -> String {
        "%2\r\n+version\r\n+\(version)\r\n+mode\r\n+cluster\r\n"
    }

    private func node(
        _ version: String,
        _ knowledge: Knowledge,
        _ answer: @escaping @Sendable (String) -> FakeServer.Answer
    ) async throws -> FakeServer {
        let hello = hello(version)
        return try await FakeServer { text, _ in
            if text.contains("HELLO") { return .bytes(hello) }
            if text.contains("INFO") { return .bytes(FakeServer.info) }
            guard let slots = text.firstRange(of: "SLOTS") else { return answer(text) }
            // Both may come in one read.
            guard let get = text.firstRange(of: "GET"), case .bytes(let other) = answer(text) else {
                return .bytes(knowledge.reply)
            }
            let isFirst = slots.lowerBound < get.lowerBound
            return .bytes(isFirst ? knowledge.reply + other : other + knowledge.reply)
        }
    }

    @Test("With version 6.2 channels are subscribed plainly at the owner of their slot")
    func plain() async throws {
        let knowledge = Knowledge()
        let seen = Mutex<[String]>([])
        let server = try await node("6.2.0", knowledge) { text in
            seen.withLock { $0.append(text) }
            return .bytes(">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n")
        }
        knowledge.owner(server.port)
        try await ClientRig.run(RedisConfiguration(topology: .cluster([server.address]))) { rig in
            try await rig.on { $0.subscribe([RedisChannel(name: "c")]) }
            try await rig.until("the message is there") { $0.messages == ["c:hi"] }
            let isSharded = try await rig.on { $0.usesShardedPubSub }
            #expect(!isSharded)
            #expect(seen.withLock { $0 } == ["*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"])
        }
        await server.close()
    }

    @Test("An ASK to a server without slots is followed, and nobody is told of that server")
    func ask() async throws {
        let knowledge = Knowledge()
        let importing = try await node("7.0.0", knowledge) { text in
            text.contains("ASKING") && text.contains("GET") ? .bytes("+OK\r\n$1\r\nx\r\n") : .close
        }
        knowledge.asked(importing.port)
        let server = try await node("7.0.0", knowledge) { _ in
            .bytes("-ASK 7 127.0.0.1:\(knowledge.otherPort)\r\n")
        }
        knowledge.owner(server.port)
        try await ClientRig.run(RedisConfiguration(topology: .cluster([server.address]))) { rig in
            for _ in 0..<3 {
                let text = try await rig.call("GET", ["k"], key: "k").text
                #expect(text == "x")
            }
            let events = try await rig.current { $0.events }
            #expect(events.count { if case .connected = $0 { true } else { false } } == 1)
            let isUp = try await rig.on { $0.isUp }
            #expect(isUp)
        }
        #expect(importing.connections == 1)
        await importing.close()
        await server.close()
    }

    @Test("A command that servers send back and forth is not sent without pause")
    func pingPong() async throws {
        let knowledge = Knowledge()
        let count = Atomic(0)
        let server = try await node("7.0.0", knowledge) { _ in
            count.add(1, ordering: .relaxed)
            return .bytes("-MOVED 7 127.0.0.1:\(knowledge.otherPort)\r\n")
        }
        knowledge.owner(server.port)
        knowledge.asked(server.port)
        var attempts = 0
        try await ClientRig.run(RedisConfiguration(topology: .cluster([server.address]))) { rig in
            var result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
            attempts = 1
            // Its time may be over while it is on its way to one of the servers.
            while case .failure(.unknown) = result, attempts < 5 {
                result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
                attempts += 1
            }
            guard case .failure(.notSent(.unavailable(let why))) = result else { throw ServerError("\(result)") }
            #expect(why.contains("MOVED"))
        }
        let sent = count.load(ordering: .relaxed)
        #expect(sent > 5 && sent < 40 * attempts, "\(sent)")
        await server.close()
    }

    @Test(
        "Slots of no use are said, and asked for again with pauses",
        arguments: ["*0\r\n", "+OK\r\n", "-NOPERM no\r\n", "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n+h\r\n:1\r\n"]
    )
    func badSlots(reply: String) async throws {
        let knowledge = Knowledge()
        knowledge.say(reply)
        let server = try await node("7.0.0", knowledge) { _ in .close }
        var configuration = RedisConfiguration(topology: .cluster([server.address]))
        configuration.commandTimeout = .seconds(1)
        try await ClientRig.run(configuration, waits: false) { rig in
            let result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
            guard case .failure(.notSent(.unavailable(let why))) = result else { throw ServerError("\(result)") }
            #expect(why.contains("CLUSTER SLOTS"))
            #expect(rig.log.notable.count == 1)
            knowledge.owner(server.port)
            try await rig.until("it is up") { $0.client?.isUp == true }
        }
        #expect(server.connections < 12)
        await server.close()
    }
}
