import NIOCore
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisIngest

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

@Suite(
    "Reading streams of a real Redis",
    .serialized,
    .timeLimit(.minutes(2)),
    .enabled(if: RedisServer.isInstalled, "redis-server and redis-cli are not installed")
)
struct RedisIngestTests {
    private let stream = "s-\(UInt64.random(in: 0 ... .max))"
    private let target = RecordingTarget()

    private var numbers: [String] { (1...5_000).map(String.init) }

    /// Whether each channel has its numbers, in order.
    private func areComplete(channels: Int) -> Bool {
        var expected = [[String]](repeating: [], count: channels)
        for number in numbers { expected[(Int(number) ?? 0) % channels].append(number) }
        var found = [[String]](repeating: [], count: channels)
        for record in target.records { found[Int(record.channel.dropFirst()) ?? 0].append(record.text) }
        return found == expected
    }

    @Test("5,000 entries are published in the order of each channel, and acknowledged")
    func order() async throws {
        let server = try await RedisServer()
        try server.fill(stream, 5_000, channels: 7)
        let reader = TestReader(server, stream, into: target)
        #expect(await eventually { target.records.count >= 5_000 })
        await reader.stop()
        #expect(areComplete(channels: 7) && target.repeats == 0)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("Fields go where they belong, and without an id the key names stream and entry")
    func fields() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        defer { _ = reader }
        let id = try server.run(
            ["XADD", stream, "*", "channel", "room", "text", "hé", "event", "note", "exclude", "c1"]
        )
        try server.run("XADD", stream, "*", "channel", "room", "base64", "AGE=", "id", "mine")
        try server.run("XADD", stream, "*", "channel", "room", "text", "again", "id", "mine")
        #expect(await eventually { target.repeats == 1 })
        let records = target.records
        #expect(records.count == 2 && records[0].text == "hé" && records[0].event == "note")
        #expect(records[0].excluded == "c1" && records[0].key.hasSuffix(":\(stream):\(id)"))
        #expect(records[1].text == "\u{0}a" && records[1].key == "mine")
    }

    @Test("An idle stream is read as soon as something is added, and is hardly asked for otherwise")
    func idle() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        defer { _ = reader }
        for number in 1...20 {
            try server.run("XADD", stream, "*", "channel", "room", "text", "\(number)")
            #expect(await eventually { target.records.count == number })
        }
        // Two for each entry, some at the start, and one in each second.
        let reads = try server.calls("xreadgroup")
        #expect(reads < 100)
    }

    @Test("Two nodes never read at once; when the reader vanishes the other one takes over, and nothing is doubled")
    func takeover() async throws {
        let server = try await RedisServer()
        let first = TestReader(server, stream, into: target, lease: .seconds(1))
        #expect(await eventually { first.log.count("reads the stream now") == 1 })
        let second = TestReader(server, stream, into: target, lease: .seconds(1))
        try server.fill(stream, 5_000, channels: 3)
        #expect(await eventually { target.records.count >= 500 })
        #expect(second.log.count("reads the stream now") == 0)
        await first.vanish()
        let began = ContinuousClock.now
        #expect(await eventually { target.records.count >= 5_000 })
        #expect(ContinuousClock.now - began < .seconds(8))
        await second.stop()
        #expect(areComplete(channels: 3) && target.records.count == 5_000)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("What a vanished reader took and did not acknowledge is read first, in order")
    func unacknowledged() async throws {
        let server = try await RedisServer()
        target.hold(true)
        let first = TestReader(server, stream, into: target, lease: .seconds(1))
        try server.fill(stream, 300, channels: 2)
        #expect(await eventually { target.heldCount == 2 })
        #expect(try server.pending(stream, "p") > 0)
        // Its calls are never answered in time.
        let gone = Task { await first.vanish() }
        let other = RecordingTarget()
        let second = TestReader(server, stream, into: other, lease: .seconds(1))
        #expect(await eventually { other.records.count == 300 })
        #expect(other.texts("c1") == stride(from: 1, through: 299, by: 2).map(String.init))
        #expect(other.texts("c0") == stride(from: 2, through: 300, by: 2).map(String.init))
        target.hold(false)
        await gone.value
        await second.stop()
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("An orderly stop waits for what is under way, and the next node reads at once")
    func orderlyStop() async throws {
        let server = try await RedisServer()
        // A lease that nobody waits for.
        let first = TestReader(server, stream, into: target, lease: .hours(1))
        #expect(await eventually { first.log.count("reads the stream now") == 1 })
        let second = TestReader(server, stream, into: target, lease: .hours(1))
        target.hold(true)
        try server.fill(stream, 100, channels: 2)
        #expect(await eventually { target.heldCount == 2 })
        let stopping = Task { await first.stop() }
        #expect(second.log.count("reads the stream now") == 0)
        target.hold(false)
        await stopping.value
        #expect(await eventually { target.records.count == 100 })
        #expect(second.log.count("reads the stream now") == 1 && target.repeats == 0)
        await second.stop()
        #expect(try server.run("EXISTS", IngestKeys(stream: stream, prefix: "p").lease) == "0")
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("Bad entries are told, acknowledged and left out")
    func badEntries() async throws {
        let server = try await RedisServer()
        let large = String(repeating: "x", count: 20_001)
        for fields in [
            ["text", "no channel"], ["channel", "a b", "text", "x"], ["channel", "room"],
            ["channel", "room", "text", "x", "base64", "eA=="], ["channel", "room", "base64", "%"],
            ["channel", "room", "text", large], ["channel", "room", "text", String(large.prefix(10_001))],
            ["channel", "room", "text", "x", "event", ""], ["channel", "room", "text", "x", "colour", "red"],
        ] {
            try server.run(["XADD", stream, "*"] + fields)
        }
        try server.run("EVAL", "redis.call('XADD', KEYS[1], '*', 'channel', 'room', 'text', '\\255')", "1", stream)
        try server.run("XADD", stream, "*", "channel", "room", "text", "good")
        let reader = TestReader(server, stream, into: target)
        #expect(await eventually { target.texts("room") == ["good"] })
        await reader.stop()
        #expect(reader.log.count("an entry of the stream was not published") == 10)
        #expect(reader.log.count("There is no channel.") == 1 && reader.log.count("\"colour\"") == 1)
        #expect(reader.log.count("10001 bytes") == 1 && reader.log.count("about 20") == 1)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("Large entries are read a few at a time, and in order")
    func largeEntries() async throws {
        let server = try await RedisServer()
        let script = """
            for n = 1, 300 do
                redis.call('XADD', KEYS[1], '*', 'channel', 'c0', 'text', n .. string.rep('x', (n % 7) * 100000))
            end
            """
        try server.run("EVAL", script, "1", stream)
        let reader = TestReader(server, stream, into: target, maxMessageBytes: 1_000_000)
        #expect(await eventually { target.attempts == 300 })
        await reader.stop()
        #expect(target.texts("c0").map { $0.filter { $0 != "x" } } == (1...300).map(String.init))
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("An entry that was removed after it was taken is told, and does not stop the others")
    func removed() async throws {
        let server = try await RedisServer()
        try server.run("XGROUP", "CREATE", stream, "p", "0", "MKSTREAM")
        let id = try server.run("XADD", stream, "*", "channel", "room", "text", "gone")
        try server.run("XADD", stream, "*", "channel", "room", "text", "kept")
        try server.run("XREADGROUP", "GROUP", "p", IngestKeys.consumer, "STREAMS", stream, ">")
        try server.run("XDEL", stream, id)
        let reader = TestReader(server, stream, into: target)
        #expect(await eventually { target.texts("room") == ["kept"] })
        await reader.stop()
        #expect(reader.log.count("It was removed") == 1)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("While the engine is away entries wait, and are published in order when it is back")
    func engineAway() async throws {
        let server = try await RedisServer()
        target.failure = .unavailable("Redis is away.")
        let reader = TestReader(server, stream, into: target)
        try server.fill(stream, 5_000, channels: 4)
        #expect(await eventually { target.attempts >= 40 })
        #expect(target.records.isEmpty)
        // Reading has paused, and nothing is acknowledged.
        #expect(try server.pending(stream, "p") == 1_000)
        target.failure = nil
        #expect(await eventually { target.records.count >= 5_000 })
        await reader.stop()
        #expect(areComplete(channels: 4) && target.repeats == 0)
        #expect(reader.log.count("publishing entries of the stream fails") == 1)
        #expect(reader.log.count("publishing entries of the stream works again") == 1)
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("What the target refuses for good is told and left out")
    func refused() async throws {
        let server = try await RedisServer()
        target.failure = .unknownChannel
        let reader = TestReader(server, stream, into: target)
        try server.run("XADD", stream, "*", "channel", "room", "text", "x")
        #expect(await eventually { reader.log.count("was not published") == 1 })
        await reader.stop()
        #expect(try server.pending(stream, "p") == 0)
    }

    @Test("A reader whose lease is taken stops, and goes on when it has it again")
    func takenLease() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        try server.run("XADD", stream, "*", "channel", "room", "text", "1")
        #expect(await eventually { target.records.count == 1 })
        let lease = IngestKeys(stream: stream, prefix: "p").lease
        try server.run("SET", lease, "another", "PX", "60000")
        #expect(await eventually { reader.log.count("Another node has it.") == 1 })
        try server.run("XADD", stream, "*", "channel", "room", "text", "2")
        #expect(try server.run("XLEN", stream) == "2" && target.records.count == 1)
        try server.run("DEL", lease)
        #expect(await eventually { target.texts("room") == ["1", "2"] })
        // A lease that never expires is nobody's.
        try server.run("SET", lease, "nobody")
        try server.run("XADD", stream, "*", "channel", "room", "text", "3")
        #expect(await eventually { target.texts("room") == ["1", "2", "3"] })
        await reader.stop()
    }

    @Test("A server that stands still for longer than the lease loses nothing")
    func stalledServer() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target, lease: .seconds(1))
        try server.fill(stream, 2_000, channels: 2)
        #expect(await eventually { target.records.count >= 200 })
        server.signal(SIGSTOP)
        #expect(await eventually { reader.log.count("Redis did not renew it in time.") == 1 })
        server.signal(SIGCONT)
        #expect(await eventually { target.records.count >= 2_000 })
        #expect(await eventually { (try? server.pending(stream, "p")) == 0 })
        await reader.stop()
        #expect(target.records.count == 2_000)
        #expect(target.texts("c1") == stride(from: 1, through: 1_999, by: 2).map(String.init))
    }

    @Test("A lost connection costs nothing but time")
    func lostConnection() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        for part in 0..<10 {
            let script = """
                for n = 1, 500 do
                    redis.call('XADD', KEYS[1], '*', 'channel', 'c' .. (n % 5), 'text', \(part * 500) + n)
                end
                """
            try server.run("EVAL", script, "1", stream)
            try server.run("CLIENT", "KILL", "TYPE", "normal")
        }
        #expect(await eventually { target.records.count >= 5_000 })
        #expect(await eventually { (try? server.pending(stream, "p")) == 0 })
        await reader.stop()
        #expect(areComplete(channels: 5) && target.records.count == 5_000)
    }

    @Test("Stopping before, twice and after the end returns")
    func stops() async throws {
        let server = try await RedisServer()
        let reader = TestReader(server, stream, into: target)
        async let one: Void = reader.stop()
        async let other: Void = reader.stop()
        _ = await (one, other)
        await reader.stop()
        for _ in 0..<20 {
            await TestReader(server, stream, into: target).vanish()
            await TestReader(server, stream, into: target).stop()
        }
    }

    @Test("Without a server it stops all the same")
    func stopWithoutServer() async throws {
        let server = try await RedisServer()
        server.signal(SIGKILL)
        #expect(await eventually { (try? server.run("PING")) == "" })
        let reader = TestReader(server, stream, into: target)
        #expect(await eventually { reader.log.count("is not available") == 1 })
        await reader.stop()
        #expect(reader.log.lines.count == 1)
    }

    @Test("Streams of the same name on two servers do not share idempotency keys")
    func twoServers() async throws {
        for _ in 0..<2 {
            let server = try await RedisServer()
            let attempts = target.attempts
            let reader = TestReader(server, stream, into: target)
            try server.run("XADD", stream, "1700000000000-0", "channel", "room", "text", "x")
            #expect(await eventually { target.attempts > attempts })
            await reader.stop()
        }
        #expect(target.records.count == 2 && target.repeats == 0)
    }
}
