import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisIngest

@Suite(
    "Streams that a real Redis refuses or has lost",
    .serialized,
    .timeLimit(.minutes(2)),
    .enabled(if: RedisServer.isInstalled, "redis-server and redis-cli are not installed")
)
struct RedisFaultTests {
    private let stream = "s-\(UInt64.random(in: 0 ... .max))"
    private let target = RecordingTarget()

    @Test("A deleted group is made again without loss, and said once")
    func deletedGroup() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        try server.run("XADD", stream, "*", "channel", "room", "text", "1")
        #expect(await eventually { target.records.count == 1 })
        try server.run("XGROUP", "DESTROY", stream, "p")
        try server.run("XADD", stream, "*", "channel", "room", "text", "2")
        #expect(await eventually { target.texts("room") == ["1", "2"] })
        try server.run("DEL", stream)
        #expect(await eventually { reader.log.count("made the consumer group") == 3 })
        try server.run("XADD", stream, "*", "channel", "room", "text", "3")
        #expect(await eventually { target.texts("room") == ["1", "2", "3"] })
        await reader.stop()
        #expect(reader.log.count("was deleted") == 2 && reader.log.count("works again") == 2)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("A deleted group does not lose what waits for the engine")
    func deletedGroupWhileAway() async throws {
        let server = try await RedisServer()
        target.failure = .unavailable("Redis is away.")
        let reader = TestReader(server, stream, into: target)
        try server.fill(stream, 10, channels: 1)
        #expect(await eventually { target.attempts >= 2 })
        try server.run("XGROUP", "DESTROY", stream, "p")
        #expect(await eventually { reader.log.count("made the consumer group") == 2 })
        await reader.stop()
        target.failure = nil
        let next = TestReader(server, stream, into: target)
        #expect(await eventually { target.records.count == 10 })
        #expect(target.texts("c0") == (1...10).map(String.init))
        await next.stop()
    }

    @Test("A key that is no stream is told once, not asked for all the time, and read when it is one")
    func wrongType() async throws {
        let server = try await RedisServer()
        try server.run("SET", stream, "text")
        let reader = TestReader(server, stream, into: target)
        #expect(await eventually { reader.log.count("has to be a stream") == 1 })
        let before = try server.calls("evalsha") + server.calls("eval")
        let began = ContinuousClock.now
        #expect(await eventually { ContinuousClock.now - began > .milliseconds(500) })
        let calls = try server.calls("evalsha") + server.calls("eval") - before
        #expect(calls < 100 && reader.log.count("has to be a stream") == 1)
        try server.run("DEL", stream)
        try server.run("XADD", stream, "*", "channel", "room", "text", "1")
        #expect(await eventually { target.records.count == 1 })
        #expect(reader.log.count("works again") == 1)
        // The same while it is being read.
        try server.run("SET", stream, "text")
        #expect(await eventually { reader.log.count("has to be a stream") == 2 })
        try server.run("DEL", stream)
        try server.run("XADD", stream, "*", "channel", "room", "text", "2")
        #expect(await eventually { target.records.count == 2 })
        await reader.stop()
    }

    @Test("Missing permissions are told with what is needed, which is enough")
    func permissions() async throws {
        let server = try await RedisServer()
        try server.run("ACL", "SETUSER", "app", "on", ">app", "~*", "+@connection", "+info", "+@scripting")
        let reader = TestReader(server, stream, into: target, user: "app")
        #expect(await eventually { reader.log.count("The ACL of Redis forbids a command.") == 1 })
        let named = [
            "+@connection", "+@stream", "+@scripting", "+info", "+role", "+get", "+set", "+del", "+pexpire", "+time",
        ]
        let line = try #require(reader.log.lines.first { $0.contains("forbids a command") })
        #expect(named.allSatisfy { line.contains($0) })
        try server.run(["ACL", "SETUSER", "app", "reset", "on", ">app", "~\(stream)", "~p:*"] + named)
        try server.run("XADD", stream, "*", "channel", "room", "text", "1")
        #expect(await eventually { target.records.count == 1 })
        await reader.stop()
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("In a cluster the keys lie in the stream's slot, also with a hash tag; a name that prevents it is told")
    func cluster() async throws {
        let server = try await RedisServer("--cluster-enabled", "yes")
        try server.run("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        #expect(await eventually { (try? server.run("CLUSTER", "INFO").contains("cluster_state:ok")) == true })
        for (number, name) in [stream, "\(stream){tag}x"].enumerated() {
            let reader = TestReader(server, name, into: target, inCluster: true)
            for _ in 0..<2 {
                let count = target.records.count
                try server.run("XADD", name, "*", "channel", "room", "text", "\(number)")
                #expect(await eventually { target.records.count == count + 1 })
            }
            await reader.stop()
            #expect(try server.pending(name, "p") == 0)
        }
        let reader = TestReader(server, "\(stream)}x", into: target, inCluster: true)
        #expect(await eventually { reader.log.count("must not have a }") == 1 })
        await reader.stop()
    }
}
