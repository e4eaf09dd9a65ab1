import NIOCore
import Testing

@testable import RedisClient

extension RealServers {
    @Suite("Subscriptions at one server")
    struct PubSubTests {
        private func configuration(_ server: RedisServer) -> RedisConfiguration {
            var configuration = RedisConfiguration(topology: .standalone(server.address))
            configuration.backoff = .milliseconds(20) ... .milliseconds(200)
            return configuration
        }

        @Test("Messages arrive, subscriptions come back after CLIENT KILL, commands too")
        func kill() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    let channels = (0..<10).map { RedisChannel(name: "c\($0)") }
                    try await rig.on { client in
                        client.subscribe(channels)
                        client.subscribe(channels)
                    }
                    try await rig.until("all are subscribed") { $0.subscribed.count == 10 }
                    #expect(try await rig.call("PUBLISH", ["c1", "one"]).integer == 1)
                    try await rig.until("the message is there") { $0.messages == ["c1:one"] }
                    #expect(try await rig.call("CLIENT", ["KILL", "TYPE", "pubsub"]).integer == 1)
                    try await rig.until("all are subscribed again") {
                        $0.subscribed.count == 10 && $0.subscribedCount == 20
                    }
                    let wereInterrupted = try await rig.current { $0.events.contains(.interrupted(10)) }
                    #expect(wereInterrupted)
                    let isUp = try await rig.current { $0.client?.isUp == true }
                    #expect(isUp)
                    // Kills also the connection that asks for it.
                    _ = try await rig.send(
                        RedisCommand("CLIENT", ["KILL", "TYPE", "normal", "SKIPME", "no"], slotKey: nil)
                    )
                    try await rig.until("it is down or up again") { rig in
                        rig.events.contains { if case .disconnected = $0 { true } else { false } }
                    }
                    try await rig.until("it is up") { $0.client?.isUp == true }
                    #expect(try await rig.call("PUBLISH", ["c2", "two"]).integer == 1)
                    try await rig.until("the message is there") { $0.messages.last == "c2:two" }
                    try await rig.on { $0.unsubscribe(Array(channels.prefix(9))) }
                    try await rig.until("one is left") { _ in true }
                    var left = -1 as Int64?
                    while left != 1 { left = try await rig.call("PUBSUB", ["CHANNELS"]).items.map { Int64($0.count) } }
                    let completions = try await rig.current { $0.receiveCompletions }
                    #expect(completions > 0)
                }
            }
        }

        @Test("What was published before a command on the subscribed connection is received before its reply")
        func order() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    try await rig.on { $0.subscribe([RedisChannel(name: "c")]) }
                    try await rig.until("it is subscribed") { $0.subscribed.count == 1 }
                    for round in 0..<50 {
                        for number in 0..<20 { _ = try await rig.call("PUBLISH", ["c", .text("\(round).\(number)")]) }
                        let promise = rig.loop.makePromise(of: Void.self)
                        try await rig.on { client in
                            client.sendOnSubscriber(RedisCommand("ECHO", [.text("reply \(round)")], slotKey: nil)) {
                                result in
                                rig.order.append((try? result.get().text) ?? "failed")
                                promise.succeed()
                            }
                        }
                        try await promise.futureResult.get()
                    }
                    let expected = (0..<50).flatMap { round in (0..<20).map { "\(round).\($0)" } + ["reply \(round)"] }
                    let order = try await rig.current { $0.order }
                    #expect(order == expected)
                }
            }
        }

        @Test("A subscriber that the server cuts off for its output buffer comes back, and is told of as interrupted")
        func outputBuffer() async throws {
            let server = try RedisServer(["--client-output-buffer-limit", "pubsub 1mb 1mb 1"])
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    try await rig.on { $0.subscribe([RedisChannel(name: "c")]) }
                    try await rig.until("it is subscribed") { $0.subscribed.count == 1 }
                    // All in one script: the server writes nothing in between.
                    let script = RedisScript("for i = 1, 40 do redis.call('PUBLISH', 'c', string.rep('x', 100000)) end")
                    _ = try await rig.send(.run(script, keys: [], arguments: []))
                    try await rig.until("it is back") { $0.subscribedCount == 2 && $0.subscribed.count == 1 }
                    let wasInterrupted = try await rig.current { $0.events.contains(.interrupted(1)) }
                    #expect(wasInterrupted)
                }
            }
        }

        @Test("A hundred thousand channels are subscribed, and again after the connection was lost")
        func many() async throws {
            let server = try RedisServer()
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    let channels = (0..<100_000).map { RedisChannel(name: "sidesocket:{\($0 % 256)}:channel:\($0)") }
                    let start = NIODeadline.now()
                    try await rig.on { $0.subscribe(channels) }
                    try await rig.until("all are subscribed", within: .seconds(40)) { $0.subscribed.count == 100_000 }
                    let middle = NIODeadline.now()
                    _ = try await rig.call("CLIENT", ["KILL", "TYPE", "pubsub"])
                    try await rig.until("all are subscribed again", within: .seconds(40)) {
                        $0.subscribed.count == 100_000 && $0.subscribedCount == 200_000
                    }
                    let end = NIODeadline.now()
                    try await rig.on { $0.unsubscribe(Array(channels.prefix(10_000))) }
                    while try await rig.call("PUBSUB", ["NUMSUB", .text(channels[7].name)]).items?.last?.integer != 0 {}
                    let times = [middle - start, end - middle, NIODeadline.now() - end].map {
                        $0.nanoseconds / 1_000_000
                    }
                    // Most of it is what a build without optimization costs.
                    print("100,000 channels: subscribed, again, and 10,000 unsubscribed in \(times) ms")
                }
            }
        }

        @Test("A subscription that the ACL forbids is tried again and said once")
        func forbidden() async throws {
            let server = try RedisServer(["--acl-pubsub-default", "resetchannels"])
            try await withServers(server) {
                try await ClientRig.run(configuration(server)) { rig in
                    _ = try await rig.call("ACL", ["SETUSER", "u", "on", ">p", "~*", "+@all", "resetchannels", "&ok*"])
                }
                var configuration = configuration(server)
                configuration.username = "u"
                configuration.password = "p"
                try await ClientRig.run(configuration) { rig in
                    try await rig.on { $0.subscribe([RedisChannel(name: "no")]) }
                    try await rig.until("it is said") { rig in rig.log.notable.contains { $0.contains("subscription") }
                    }
                    try await rig.on { $0.subscribe([RedisChannel(name: "ok1")]) }
                    try await rig.until("the other one is subscribed") { $0.subscribed == [RedisChannel(name: "ok1")] }
                    #expect(rig.log.notable.count == 1)
                }
            }
        }
    }
}
