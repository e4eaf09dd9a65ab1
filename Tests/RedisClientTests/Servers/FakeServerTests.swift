import NIOCore
import Synchronization
import Testing

@testable import RedisClient

/// A number that several threads count.
private final class Counter: Sendable {
    private let count = Atomic(0)
    var value: Int { count.load(ordering: .relaxed) }
    func increase() -> Int { count.wrappingAdd(1, ordering: .relaxed).newValue }
    func reset(to value: Int = 0) { count.store(value, ordering: .relaxed) }
}

@Suite("Servers that misbehave", .serialized)
struct FakeServerTests {
    private func configuration(_ server: FakeServer) -> RedisConfiguration {
        var configuration = RedisConfiguration(topology: .standalone(server.address))
        // The machine may be busy with other tests.
        configuration.commandTimeout = .seconds(5)
        return configuration
    }

    @Test("Replies byte by byte are read")
    func halfFrames() async throws {
        let server = try await FakeServer { text, _ in
            if text.contains("HELLO") { return .bytewise(FakeServer.hello) }
            if text.contains("INFO") { return .bytewise(FakeServer.info) }
            return .bytewise("$5\r\nhello\r\n")
        }
        try await ClientRig.run(configuration(server)) { rig in
            let text = try await rig.call("GET", ["k"]).text
            #expect(text == "hello")
        }
        await server.close()
    }

    @Test(
        "Garbage, endless lengths and hang-ups lead to new attempts with pauses, one line in the log, and no crash",
        arguments: [
            "HTTP/1.1 400 Bad Request\r\n\r\n", "$2147483648\r\n", "*1000000000\r\n", "\u{15}\u{3}\u{1}", "close",
        ]
    )
    func garbage(text: String) async throws {
        let server = try await FakeServer { _, _ in text == "close" ? .close : .bytes(text) }
        var configuration = configuration(server)
        configuration.commandTimeout = .seconds(1)
        configuration.backoff = .milliseconds(50) ... .milliseconds(200)
        try await ClientRig.run(configuration, waits: false) { rig in
            let result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
            guard case .failure(.notSent(.unavailable(let why))) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(!why.isEmpty)
            try await rig.until("several attempts") { _ in server.connections >= 6 }
            #expect(rig.log.notable.count == 1, "\(rig.log.notable)")
            // Two connections, at least 50 ms apart each.
            let isUp = try await rig.on { $0.isUp }
            #expect(isUp == false)
        }
        #expect(server.connections < 60)
        await server.close()
    }

    @Test("A bad reply after a good greeting loses the connection, and what was sent is unknown")
    func badReply() async throws {
        let server = try await FakeServer(
            FakeServer.greeted { text, _ in text.contains("BAD") ? .bytes("$99999999999\r\n") : .bytes("+OK\r\n") }
        )
        try await ClientRig.run(configuration(server)) { rig in
            let result = try await rig.send(RedisCommand("BAD", slotKey: nil))
            guard case .failure(.unknown(.connectionLost(let why))) = result else {
                Issue.record("\(result)")
                return
            }
            #expect(why.contains("too large"))
            try await rig.until("it is up again") { $0.client?.isUp == true }
            #expect(try await rig.call("GOOD").text == "OK")
        }
        await server.close()
    }

    @Test("A server that falls silent in the midst of the greeting is given up")
    func silence() async throws {
        let silent = try await FakeServer(
            { text, _ in text.contains("HELLO") ? .bytes(FakeServer.hello) : .nothing }
        )
        try await ClientRig.run(configuration(silent), waits: false) { rig in
            let start = NIODeadline.now()
            try await rig.until("it is given up", within: .seconds(10)) { rig in
                rig.log.notable.contains { $0.contains("silent") }
            }
            // Exactly three seconds are tested with a clock of their own.
            #expect(NIODeadline.now() - start < .seconds(6))
        }
        await silent.close()
    }

    @Test("A command on a silent connection fails as unknown in its time")
    func silentCommand() async throws {
        let server = try await FakeServer(FakeServer.greeted { _, _ in .nothing })
        try await ClientRig.run(configuration(server)) { rig in
            var command = RedisCommand("GET", ["k"], slotKey: "k")
            command.timeout = .milliseconds(200)
            let result = try await rig.send(command)
            #expect(result == .failure(.unknown(.timeout)))
        }
        await server.close()
    }

    @Test("Nothing is sent twice that may have been carried out")
    func neverTwice() async throws {
        let server = try await FakeServer(FakeServer.greeted { text, _ in text.contains("ONCE") ? .close : .nothing })
        try await ClientRig.run(configuration(server)) { rig in
            let result = try await rig.send(RedisCommand("ONCE", slotKey: nil))
            guard case .failure(.unknown(.connectionLost)) = result else {
                Issue.record("\(result)")
                return
            }
            try await rig.until("it is up again") { $0.client?.isUp == true }
        }
        await server.close()
    }

    @Test(
        "A server that asks for patience gets the command again until it takes it",
        arguments: [
            "-LOADING Redis is loading the dataset in memory",
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-CLUSTERDOWN The cluster is down",
        ]
    )
    func patience(reply: String) async throws {
        let refusals = Counter()
        let server = try await FakeServer(
            FakeServer.greeted { _, _ in .bytes(refusals.increase() <= 3 ? "\(reply)\r\n" : "+OK\r\n") }
        )
        try await ClientRig.run(configuration(server)) { rig in
            let text = try await rig.call("SET", ["k", "v"], key: "k").text
            #expect(text == "OK" && refusals.value == 4)
            refusals.reset()
            var command = RedisCommand("SET", ["k", "v"], slotKey: "k")
            command.followsRedirects = false
            let result = try await rig.send(command)
            #expect(result == .failure(.redirected) && refusals.value == 1)
            refusals.reset(to: -1_000)
            command.followsRedirects = true
            command.timeout = .seconds(1)
            var last = try await rig.send(command)
            // Its time may be over while it is on its way once more.
            for _ in 0..<4 { if case .failure(.unknown) = last { last = try await rig.send(command) } }
            guard case .failure(.notSent(.unavailable(let why))) = last else {
                throw ServerError("\(last)")
            }
            #expect(why.contains(reply.dropFirst()))
        }
        await server.close()
    }

    @Test("Closing fails what waits and what is sent, and the delegate hears nothing more")
    func closing() async throws {
        let server = try await FakeServer(FakeServer.greeted { _, _ in .nothing })
        let rig = try await ClientRig(configuration(server))
        try await rig.until("it is up") { $0.client?.isUp == true }
        let promise = rig.loop.makePromise(of: Result<RESPValue, RedisFailure>.self)
        let flushed = rig.loop.makePromise(of: Void.self)
        try await rig.on { client in
            client.send(RedisCommand("GET", slotKey: nil)) { promise.succeed($0) }
            rig.loop.execute { rig.loop.execute { flushed.succeed() } }
        }
        try await flushed.futureResult.get()
        let count = try await rig.current { $0.events.count }
        try await rig.on { $0.close() }
        guard case .failure(.unknown(.connectionLost)) = try await promise.futureResult.get() else {
            Issue.record("not unknown")
            return
        }
        let result = try await rig.send(RedisCommand("GET", slotKey: nil))
        #expect(result == .failure(.notSent(.closed)))
        let later = try await rig.current { $0.events.count }
        #expect(later == count)
        try await rig.close()
        await server.close()
    }

    @Test("Commands that find no connection wait, up to a bound, and fail as not sent")
    func waiting() async throws {
        let port = try FreePort.find()
        var configuration = RedisConfiguration(topology: .standalone(RedisAddress(host: "127.0.0.1", port: port)))
        configuration.commandTimeout = .seconds(1)
        try await ClientRig.run(configuration, waits: false) { rig in
            let promise = rig.loop.makePromise(of: [Result<RESPValue, RedisFailure>].self)
            let count = RedisConfiguration.maxWaitingCommands + 5
            try await rig.on { client in
                var results: [Result<RESPValue, RedisFailure>] = []
                for _ in 0..<count {
                    client.send(RedisCommand("GET", slotKey: nil)) {
                        results.append($0)
                        if results.count == count { promise.succeed(results) }
                    }
                }
            }
            let results = try await promise.futureResult.get()
            #expect(results.count { $0 == .failure(.notSent(.full)) } == 5)
            let others = results.filter { $0 != .failure(.notSent(.full)) }
            #expect(
                others.allSatisfy { result in
                    if case .failure(.notSent(.unavailable(let why))) = result { return why.contains("refused") }
                    return false
                }
            )
        }
    }
}
