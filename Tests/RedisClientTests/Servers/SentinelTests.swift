import NIOCore
import Testing

@testable import RedisClient

extension RealServers {
    @Suite("Sentinel")
    struct SentinelTests {
        @Test("The client finds the master, and follows a failover with its subscriptions")
        func failover() async throws {
            let master = try RedisServer()
            let first = try RedisServer(["--replicaof", "127.0.0.1 \(master.port)"])
            let second = try RedisServer(["--replicaof", "127.0.0.1 \(master.port)"])
            let sentinels = [
                try RedisServer.sentinel(of: master.port), try RedisServer.sentinel(of: master.port),
                try RedisServer.sentinel(of: master.port),
            ]
            try await withServers(master, first, second, sentinels[0], sentinels[1], sentinels[2]) {
                // One that is away comes first.
                let nobody = RedisAddress(host: "127.0.0.1", port: try FreePort.find())
                var configuration = RedisConfiguration(
                    topology: .sentinel([nobody] + sentinels.map(\.address), service: "mymaster")
                )
                configuration.backoff = .milliseconds(20) ... .milliseconds(300)
                try await ClientRig.run(configuration) { rig in
                    #expect(rig.log.notable.isEmpty, "\(rig.log.notable)")
                    let shard = try await rig.on { $0.shard(ofKey: "x") }
                    #expect(shard == .only)
                    _ = try await rig.call("SET", ["k", "v"], key: "k")
                    try await rig.on { $0.subscribe([RedisChannel(name: "c")]) }
                    try await rig.until("it is subscribed") { $0.subscribed.count == 1 }
                    // The Sentinels have to know both replicas and each other before they can act.
                    try await eventually("the Sentinels know the replicas and each other") {
                        for sentinel in sentinels {
                            let text = try await info(sentinel.address)
                            if !text.contains("slaves=2,sentinels=3") { return false }
                        }
                        return true
                    }
                    let start = NIODeadline.now()
                    master.stop()
                    try await rig.until("it is down") { $0.client?.isUp == false }
                    try await rig.until("it is up at another master", within: .seconds(15)) {
                        $0.client?.isUp == true && $0.subscribed.count == 1
                    }
                    print("Sentinel failover: \((NIODeadline.now() - start).nanoseconds / 1_000_000) ms")
                    #expect(try await rig.call("SET", ["k", "w"], key: "k").text == "OK")
                    #expect(try await rig.call("PUBLISH", ["c", "m"]).integer == 1)
                    try await rig.until("the message is there") { $0.messages == ["c:m"] }
                    let identityChanged = try await rig.current { $0.events.contains(.identityChanged(.only)) }
                    #expect(identityChanged)
                }
            }
        }

        @Test("An unknown service and a server that is no Sentinel are said")
        func refused() async throws {
            let master = try RedisServer()
            let sentinel = try RedisServer.sentinel(of: master.port)
            try await withServers(master, sentinel) {
                for (address, service, part) in [
                    (sentinel.address, "other", "knows no service \"other\""),
                    (master.address, "mymaster", "no Sentinel"),
                ] {
                    var configuration = RedisConfiguration(topology: .sentinel([address], service: service))
                    configuration.commandTimeout = .seconds(1)
                    try await ClientRig.run(configuration, waits: false) { rig in
                        try await rig.until("the log says \(part)") { rig in
                            rig.log.notable.contains { $0.contains(part) }
                        }
                        let result = try await rig.send(RedisCommand("GET", ["k"], slotKey: "k"))
                        guard case .failure(.notSent(let reason)) = result else { throw ServerError("\(result)") }
                        if case .unavailable(let why) = reason { #expect(why.contains(part)) }
                    }
                }
            }
        }

        @Test("A Sentinel with a password gets the one of the servers")
        func password() async throws {
            let master = try RedisServer(["--requirepass", "pw"])
            let sentinel = try RedisServer.sentinel(
                of: master.port,
                options: "requirepass pw\nsentinel auth-pass mymaster pw"
            )
            try await withServers(master, sentinel) {
                var configuration = RedisConfiguration(topology: .sentinel([sentinel.address], service: "mymaster"))
                configuration.password = "pw"
                try await ClientRig.run(configuration) { rig in
                    let text = try await rig.call("ECHO", ["x"]).text
                    #expect(text == "x")
                }
            }
        }

        private func info(_ address: RedisAddress) async throws -> String {
            let text = try await CommandLineClient.run(address, ["info", "sentinel"])
            return text
        }
    }
}

/// Looks again and again until something holds.
func eventually(_ what: String, within limit: TimeAmount = .seconds(20), _ body: () async throws -> Bool) async throws {
    let deadline = NIODeadline.now() + limit
    while NIODeadline.now() < deadline {
        if (try? await body()) == true { return }
        try await Task.sleep(for: .milliseconds(50))
    }
    throw ServerError("not within the time: \(what)")
}
