import NIOCore
import Testing

@testable import RedisClient

extension RealServers {
    @Suite("Cluster")
    struct ClusterTests {
        private let script = RedisScript(
            "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"
        )

        @Test("Keys go to their masters, and follow a slot that moves under load")
        func migration() async throws {
            try await TestCluster.run(replicas: false) { cluster in
                var configuration = cluster.configuration
                configuration.commandTimeout = .seconds(5)
                try await ClientRig.run(configuration) { rig in
                    let isSharded = try await rig.on { $0.usesShardedPubSub }
                    #expect(isSharded)
                    for number in 0..<100 {
                        let key = "key:\(number)"
                        _ = try await rig.call("SET", [.text(key), .number(Int64(number))], key: key)
                    }
                    for number in 0..<100 {
                        let key = "key:\(number)"
                        #expect(try await rig.call("GET", [.text(key)], key: key).integer == Int64(number))
                    }
                    #expect(
                        try await rig.on { client in Set((0..<100).compactMap { client.shard(ofKey: "key:\($0)") }) }
                            .count == 3
                    )
                    let slot = HashSlot.of("{t}")
                    let from = try await cluster.owner(of: slot, asking: cluster.nodes[0])
                    let to = try #require(cluster.masters.first { $0 !== from })
                    let owner = try await rig.on { $0.shard(ofKey: "{t}") }
                    #expect(owner == RedisShardID("\(from.address)"))

                    // Without pause scripts with two keys of the slot, and single commands.
                    let load = Load(rig: rig, script: script)
                    try await load.start()
                    try await load.waitForMore(50)
                    try await cluster.beginMove(slot, from: from, to: to)
                    try await load.waitForMore(50)
                    // A key that is not there any more or not yet: ASK.
                    _ = try await rig.call("SET", ["{t}new", "v"], key: "{t}new")
                    #expect(try await rig.call("GET", ["{t}new"], key: "{t}new").text == "v")
                    try await cluster.moveKeys(slot, from: from, to: to)
                    try await load.waitForMore(50)
                    try await cluster.endMove(slot, to: to)
                    try await load.waitForMore(50)
                    let (count, failures) = try await load.stop()
                    #expect(failures.isEmpty, "\(failures.prefix(3))")
                    #expect(try await rig.call("GET", ["{t}a"], key: "{t}a").integer == Int64(count))
                    #expect(try await rig.call("GET", ["{t}b"], key: "{t}b").integer == Int64(count))
                    try await rig.until("the new owner is known") { rig in
                        rig.client?.shard(ofKey: "{t}") == RedisShardID("\(to.address)")
                    }
                }
            }
        }

        @Test("A command that does not follow is redirected, and then the client knows better")
        func redirected() async throws {
            try await TestCluster.run(replicas: false) { cluster in
                try await ClientRig.run(cluster.configuration) { rig in
                    let slot = HashSlot.of("{t}")
                    let from = try await cluster.owner(of: slot, asking: cluster.nodes[0])
                    let to = try #require(cluster.masters.first { $0 !== from })
                    try await cluster.beginMove(slot, from: from, to: to)
                    var command = RedisCommand("SET", ["{t}x", "1"], slotKey: "{t}x")
                    command.followsRedirects = false
                    #expect(try await rig.send(command) == .failure(.redirected))
                    try await cluster.endMove(slot, to: to)
                    var results: [Result<RESPValue, RedisFailure>] = []
                    try await eventually("it is sent to the new owner") {
                        results.append(try await rig.send(command))
                        return (try? results.last?.get()) != nil
                    }
                    for result in results.dropLast() { #expect(result == .failure(.redirected)) }
                    #expect(results.count <= 20)
                }
            }
        }

        @Test("Sharded subscriptions move with their slot, and no message is lost after they are confirmed")
        func subscriptions() async throws {
            try await TestCluster.run(replicas: false) { cluster in
                try await ClientRig.run(cluster.configuration) { rig in
                    let channels =
                        (0..<300).map { RedisChannel(name: "{\($0 % 30)}:\($0)") } + [RedisChannel(name: "{t}c")]
                    try await rig.on { $0.subscribe(channels) }
                    try await rig.until("all are subscribed") { $0.subscribed.count == channels.count }
                    for channel in channels {
                        #expect(
                            try await rig.call("SPUBLISH", [.text(channel.name), "m"], key: channel.name).integer == 1
                        )
                    }
                    try await rig.until("all messages are there") { $0.messages.count == channels.count }
                    let slot = HashSlot.of("{t}")
                    let from = try await cluster.owner(of: slot, asking: cluster.nodes[0])
                    let to = try #require(cluster.masters.first { $0 !== from })
                    try await cluster.beginMove(slot, from: from, to: to)
                    try await cluster.moveKeys(slot, from: from, to: to)
                    try await cluster.endMove(slot, to: to)
                    try await rig.until("it is subscribed at the new owner") { rig in
                        rig.subscribed.count == channels.count && rig.subscribedCount == channels.count + 1
                    }
                    let wasInterrupted = try await rig.current { $0.events.contains(.interrupted(1)) }
                    #expect(wasInterrupted)
                    #expect(try await rig.call("SPUBLISH", ["{t}c", "later"], key: "{t}c").integer == 1)
                    try await rig.until("the message is there") { $0.messages.last == "{t}c:later" }
                    let promise = rig.loop.makePromise(of: Result<RESPValue, RedisFailure>.self)
                    try await rig.on {
                        $0.sendOnSubscriber(RedisCommand("GET", ["{t}x"], slotKey: "{t}x")) { promise.succeed($0) }
                    }
                    #expect(try await promise.futureResult.get() == .success(.null))
                    try await rig.on { $0.unsubscribe(channels) }
                    try await eventually("nothing is subscribed") {
                        var left = 0
                        for master in cluster.masters {
                            left += try await CommandLineClient.run(master.address, ["pubsub", "shardchannels"])
                                .split(separator: "\n").count
                        }
                        return left == 0
                    }
                }
            }
        }

        @Test("A master that dies is replaced by its replica, with its subscriptions")
        func failover() async throws {
            try await TestCluster.run(replicas: true) { cluster in
                try await ClientRig.run(cluster.configuration) { rig in
                    let slot = HashSlot.of("{t}")
                    let master = try await cluster.owner(of: slot, asking: cluster.nodes[5])
                    let other = try #require(cluster.masters.first { $0 !== master })
                    try await rig.on { $0.subscribe([RedisChannel(name: "{t}c")]) }
                    try await rig.until("it is subscribed") { $0.subscribed.count == 1 }
                    let start = NIODeadline.now()
                    master.stop()
                    try await rig.until("it is down") { $0.client?.isUp == false }
                    try await rig.until("it is up again", within: .seconds(15)) {
                        $0.client?.isUp == true && $0.subscribed.count == 1 && $0.subscribedCount == 2
                    }
                    print("Cluster failover: \((NIODeadline.now() - start).nanoseconds / 1_000_000) ms")
                    let now = try await cluster.owner(of: slot, asking: other)
                    let newOwner = try await rig.on { $0.shard(ofKey: "{t}") }
                    #expect(newOwner == RedisShardID("\(now.address)"))
                    #expect(try await rig.call("SET", ["{t}x", "1"], key: "{t}x").text == "OK")
                    #expect(try await rig.call("SPUBLISH", ["{t}c", "m"], key: "{t}c").integer == 1)
                    try await rig.until("the message is there") { $0.messages == ["{t}c:m"] }
                    // The new owner may be gone and back once more while the servers agree.
                    #expect(rig.log.notable.count <= 5, "\(rig.log.notable)")
                }
            }
        }
    }
}

/// Scripts and commands one after the other, until it is stopped.
private final class Load: @unchecked Sendable {
    private let rig: ClientRig
    private let script: RedisScript
    private var count = 0
    private var failures: [String] = []
    private var isStopping = false
    private var stopped: EventLoopPromise<Void>?

    init(rig: ClientRig, script: RedisScript) {
        self.rig = rig
        self.script = script
    }

    func start() async throws { try await rig.on { _ in self.next() } }

    private func next() {
        guard !isStopping, let client = rig.client else {
            stopped?.succeed()
            return
        }
        client.send(.run(script, keys: ["{t}a", "{t}b"], arguments: [])) { result in
            self.count += 1
            if case .failure(let failure) = result { self.failures.append("\(failure)") }
            self.rig.loop.execute { self.next() }
        }
    }

    func waitForMore(_ more: Int) async throws {
        let now = try await rig.current { _ in self.count }
        try await rig.until("more commands are answered") { _ in self.count >= now + more }
    }

    func stop() async throws -> (Int, [String]) {
        let promise = rig.loop.makePromise(of: Void.self)
        try await rig.on { _ in
            self.stopped = promise
            self.isStopping = true
        }
        try await promise.futureResult.get()
        return try await rig.current { _ in (self.count, self.failures) }
    }
}
