import NIOCore
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

@Suite("Several nodes over Redis", .serialized, .timeLimit(.minutes(2)), .enabled(if: RedisProcess.isInstalled))
struct SeveralNodesTests {
    private static let server = Task { try await RedisProcess() }
    private let prefix = "nodes-\(UInt64.random(in: 0 ... .max))"

    private func channel(_ name: String) throws -> ChannelName { try #require(ChannelName(name)) }

    private func pair(
        history: Int = 0,
        countInterval: TimeAmount = .seconds(10),
        lease: TimeAmount = .seconds(10)
    ) async throws -> (TestNode, TestNode, RedisShell) {
        let server = try await Self.server.value
        func make() async throws -> TestNode {
            try await TestNode(server, prefix: prefix, history: history, countInterval: countInterval, lease: lease)
        }
        return (try await make(), try await make(), RedisShell(port: server.port))
    }

    @Test("What one node publishes all receive, in the same order")
    func order() async throws {
        let (one, other, _) = try await pair()
        let room = try channel("room")
        for node in [one, other] { try await node.subscribe(room) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (name, node) in [("a", one), ("b", other)] {
                group.addTask { for number in 0..<100 { _ = try await node.publish("\(name)\(number)", to: room) } }
            }
            try await group.waitForAll()
        }
        let isComplete = await eventually { one.texts(room).count == 200 && other.texts(room).count == 200 }
        #expect(isComplete && one.texts(room) == other.texts(room))
        #expect(one.texts(room).filter { $0.hasPrefix("a") } == (0..<100).map { "a\($0)" })
        #expect(one.events.losses("room") == 0 && other.events.losses("room") == 0)
    }

    @Test("Two prefixes never see each other, and names with special characters are names like others")
    func names() async throws {
        let (one, _, _) = try await pair()
        let stranger = try await TestNode(try await Self.server.value, prefix: prefix + "-2")
        let names = try ["{a}", "}:m:x", "*", "[a-z]?", "a{07}b:c", "\\", ":::", String(repeating: "x", count: 200)]
            .map { try channel($0) }
        for name in names {
            try await one.subscribe(name)
            try await stranger.subscribe(name)
        }
        for name in names { _ = try await one.publish(name.text, to: name) }
        let isReceived = await eventually { names.allSatisfy { one.texts($0) == [$0.text] } }
        #expect(isReceived && stranger.events.received.isEmpty)
        let listed = try await one.broker.channels(prefix: "", after: nil, limit: 100)
        #expect(listed.map(\.channel) == names.sorted())
        #expect(try await stranger.broker.channels(prefix: "{", after: nil, limit: 100).count == 1)
    }

    @Test("A lost subscription is made up for from the history, without a repeat")
    func killed() async throws {
        let (one, other, shell) = try await pair(history: 1_000)
        let room = try channel("room")
        try await other.subscribe(room)
        for number in 0..<300 {
            if number % 50 == 25 { try shell.run("CLIENT", "KILL", "TYPE", "pubsub") }
            _ = try await one.publish("\(number)", to: room)
        }
        let isComplete = await eventually { other.texts(room).count >= 300 }
        #expect(isComplete && other.texts(room) == (0..<300).map(String.init))
        #expect(other.events.losses("room") == 0)
    }

    @Test("Without a history, what a lost subscription has missed is told")
    func killedWithoutHistory() async throws {
        let (one, other, shell) = try await pair()
        let room = try channel("room")
        try await other.subscribe(room)
        var number = 0
        while other.events.losses("room") == 0, number < 10_000 {
            if number % 100 == 50 { try shell.run("CLIENT", "KILL", "TYPE", "pubsub") }
            _ = try await one.publish("\(number)", to: room)
            number += 1
        }
        #expect(other.events.losses("room") > 0)
        let last = try await one.publish("last", to: room)
        let isReceived = await eventually { other.texts(room).last == "last" }
        let offsets = other.events.received.map(\.position.offset)
        #expect(isReceived && offsets.last == last.offset)
        #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test("An emptied engine is noticed, also where nothing is published")
    func emptied() async throws {
        let (one, other, shell) = try await pair(history: 10, countInterval: .milliseconds(100))
        let room = try channel("room")
        for node in [one, other] { try await node.subscribe(room) }
        let before = try await one.publish("before", to: room)
        // The counters have to be known before they can be missed.
        for node in [one, other] { try await node.compareCounters() }
        try shell.run("FLUSHALL")
        let isTold = await eventually { one.events.losses("room") == 1 && other.events.losses("room") == 1 }
        #expect(isTold)
        let after = try await other.publish("after", to: room)
        let isReceived = await eventually { one.texts(room) == ["before", "after"] }
        #expect(isReceived && after.epoch != before.epoch)
        await #expect(throws: ChannelFailure.gone) {
            try await one.broker.history(of: room, .after(before.offset), epoch: before.epoch.description, limit: 10)
        }
        let result: Result<ChannelReplay, ChannelFailure> = try await answer { completion in
            one.broker.subscribe(room, after: before, reader: 0) { completion($0) }
        }
        #expect(try !result.get().isComplete)
        for node in [one, other] { try await node.compareCounters() }
        #expect(one.events.losses("room") == 1 && other.events.losses("room") == 1)
    }

    @Test("Who leaves a channel before an engine comes back empty has the app told, unless others are there")
    func leavesEmptied() async throws {
        let server = try await RedisProcess()
        let shell = RedisShell(port: server.port)
        // The other one notices by the list of nodes, four times in a lease, and enters again.
        var nodes: [TestNode] = []
        for interval in [TimeAmount.seconds(2), .seconds(10)] {
            nodes.append(
                try await TestNode(
                    server,
                    prefix: prefix,
                    countInterval: interval,
                    channelEvents: true,
                    lease: .seconds(1)
                )
            )
        }
        let (room, shared) = (try channel("room"), try channel("shared"))
        for name in [room, shared] { try await nodes[0].subscribe(name) }
        try await nodes[1].subscribe(shared)
        // The script for leaving begins with it.
        try shell.run("ACL", "SETUSER", "default", "-srem")
        for name in [room, shared] { nodes[0].broker.unsubscribe(name) }
        try shell.run("FLUSHALL")
        try shell.run("ACL", "SETUSER", "default", "+srem")
        let isTold = await eventually {
            nodes[0].events.occupancy.contains { $0.channel == "room" && !$0.isOccupied }
        }
        #expect(isTold)
        #expect(!nodes[0].events.occupancy.contains { $0.channel == "shared" && !$0.isOccupied })
        #expect(nodes[0].events.occupancy.count { !$0.isOccupied } == 1)
    }

    @Test("A publication whose script fails half-way may have been published, and its answer says so")
    func halfway() async throws {
        let (one, _, shell) = try await pair(history: 10)
        let room = try channel("room")
        try shell.run("SET", ClusterKeys(prefix: prefix).counter(ClusterKeys.tag(of: room)), "x")
        do {
            _ = try await one.publish("x", to: room)
            Issue.record("it was published")
        } catch let failure as ChannelFailure {
            guard case .unknown = failure else {
                Issue.record("\(failure)")
                return
            }
        }
        try shell.run("DEL", ClusterKeys(prefix: prefix).counter(ClusterKeys.tag(of: room)))
        _ = try await one.publish("y", to: room)
    }

    @Test(
        "A head that no node has written begins a new epoch",
        arguments: [
            "zzzzzzzzzzzzzzzzzzzzzz 5 0123456789abcdef 1", "abc 9007199254740993 0123456789abcdef 1", "abc 1 abcdef 1",
            "abc 1 0123456789abcdef", "abc 1 0123456789abcdef 1234567890123456", "", "a b c d",
        ]
    )
    func foreignHead(head: String) async throws {
        let (one, _, shell) = try await pair(history: 10)
        let room = try channel("room")
        try shell.run("SET", ClusterKeys(prefix: prefix).head(room), head)
        let position = try await one.publish("x", to: room)
        #expect(position.offset == 1)
        try shell.run("SET", ClusterKeys(prefix: prefix).head(room), head)
        try await one.subscribe(room)
        _ = try await one.publish("y", to: room)
        let isReceived = await eventually { one.texts(room) == ["y"] }
        #expect(isReceived)
    }

    @Test("An offset that has come to mean another message is not continued")
    func lostTail() async throws {
        let (one, other, shell) = try await pair(history: 10)
        let room = try channel("room")
        try await one.subscribe(room)
        let kept = try await one.publish("kept", to: room)
        let lost = try await one.publish("lost", to: room)
        // As after a failover to a replica that had not got the last message.
        let head = ClusterKeys(prefix: prefix).head(room)
        try shell.run("SET", head, "\(kept.epoch) \(kept.offset) \(kept.id) 0")
        try shell.run("XDEL", ClusterKeys(prefix: prefix).history(room), "\(lost.offset)-0")
        try shell.run("XSETID", ClusterKeys(prefix: prefix).history(room), "\(kept.offset)-0")
        let new = try await other.publish("new", to: room)
        #expect(new.offset == lost.offset && new.id != lost.id)
        let isTold = await eventually { one.events.losses("room") == 1 }
        #expect(isTold)
        // The node that noticed has begun a new epoch, so that nobody can take the one message for the other.
        for known in [kept, lost] {
            let fresh = try await TestNode(try await Self.server.value, prefix: prefix, history: 10)
            let result: Result<ChannelReplay, ChannelFailure> = try await answer { completion in
                fresh.broker.subscribe(room, after: known, reader: 0) { completion($0) }
            }
            #expect(try !result.get().isComplete)
        }
        let next = try await other.publish("next", to: room)
        #expect(next.epoch != kept.epoch && next.offset > new.offset)
        let isReceived = await eventually { one.texts(room).last == "next" }
        #expect(isReceived && one.events.losses("room") == 1)
    }

    /// Publishes `kept` and `lost`, and takes the last one back as a failover to a replica that had not got it.
    private func loseTail(_ node: TestNode, _ room: ChannelName, _ shell: RedisShell) async throws {
        // A while after it has connected, it looks once more.
        try await node.compareCounters()
        let kept = try await node.publish("kept", to: room)
        _ = try await node.publish("lost", to: room)
        let publisher: NodeID = try await node.ask { $1($0.context.publisher) }
        let keys = ClusterKeys(prefix: prefix)
        let head = try shell.run("GET", keys.head(room)).split(separator: " ")
        try shell.run("SET", keys.head(room), "\(kept.epoch) \(kept.offset) \(kept.id) \(head[3].dropLast())")
        try shell.run("HDEL", keys.published(ClusterKeys.tag(of: room), by: publisher), "2")
    }

    @Test("Who never saw what a failover has lost is told by the node that had published it, once")
    func confirmedAndLost() async throws {
        let (one, other, shell) = try await pair(countInterval: .milliseconds(100))
        let third = try await TestNode(try await Self.server.value, prefix: prefix, countInterval: .milliseconds(100))
        let room = try channel("room")
        try await loseTail(one, room, shell)
        try await loseTail(third, room, shell)
        try await other.subscribe(room)
        // Nothing has happened that could show it.
        for node in [one, third, other] { try await node.compareCounters() }
        #expect(other.events.losses("room") == 0)
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        let isTold = await eventually { other.events.losses("room") == 1 }
        #expect(isTold)
        // The third one has lost one too, before that.
        for node in [one, third, other] { try await node.compareCounters() }
        #expect(other.events.losses("room") == 1)
        _ = try await one.publish("next", to: room)
        let isReceived = await eventually { other.texts(room) == ["next"] }
        #expect(isReceived)
        // What it publishes now is there, also when it connects again.
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        _ = try await one.publish("last", to: room)
        for node in [one, third, other] { try await node.compareCounters() }
        #expect(other.events.losses("room") == 1 && other.texts(room) == ["next", "last"])
    }

    @Test("With CLUSTER_MIN_REPLICAS the connection that publishes asks for what is lost")
    func confirmedByReplicas() async throws {
        let server = try await RedisProcess()
        let replica = try await RedisProcess()
        try RedisShell(port: replica.port).run("REPLICAOF", "127.0.0.1", "\(server.port)")
        let shell = RedisShell(port: server.port)
        let isReplicated = await eventually { (try? shell.run("WAIT", "1", "100")) == "1\n" }
        #expect(isReplicated)
        let one = try await TestNode(server, prefix: prefix, countInterval: .milliseconds(100), minReplicas: 1)
        let other = try await TestNode(server, prefix: prefix, countInterval: .milliseconds(100))
        let room = try channel("room")
        try await loseTail(one, room, shell)
        try await other.subscribe(room)
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        let isTold = await eventually { other.events.losses("room") == 1 }
        #expect(isTold)
        withExtendedLifetime((server, replica)) {}
    }

    @Test("A publication whose place later ones have taken is not lost")
    func confirmedAndOverwritten() async throws {
        let (one, other, shell) = try await pair(countInterval: .milliseconds(100))
        let room = try channel("room")
        try await other.subscribe(room)
        _ = try await one.publish("x", to: room)
        let tag = ClusterKeys.tag(of: room)
        let names = (0..<1000).compactMap { ChannelName("c\($0)") }
        let sibling = try #require(names.first { ClusterKeys.tag(of: $0) == tag })
        for number in 0..<PublishLane.window * 3 / 2 { _ = try await one.publish("\(number)", to: sibling) }
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        _ = try await one.publish("y", to: room)
        for node in [one, other] { try await node.compareCounters() }
        #expect(other.texts(room) == ["x", "y"] && other.events.losses("room") == 0)
    }

    @Test("What cannot be told of a loss is told when it can be")
    func confirmedLostAndRefused() async throws {
        let (one, other, shell) = try await pair(countInterval: .milliseconds(100))
        let room = try channel("room")
        try await loseTail(one, room, shell)
        try await other.subscribe(room)
        try shell.run("ACL", "SETUSER", "default", "-hgetall")
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        for node in [one, other] { try await node.compareCounters() }
        try shell.run("ACL", "SETUSER", "default", "+hgetall", "-get")
        for node in [one, other] { try await node.compareCounters() }
        #expect(other.events.losses("room") == 0)
        try shell.run("ACL", "SETUSER", "default", "+get")
        let isTold = await eventually { other.events.losses("room") == 1 }
        #expect(isTold)
    }

    @Test("No more losses are told than may wait to be told")
    func tooMuchLost() async throws {
        let server = try await Self.server.value
        let shell = RedisShell(port: server.port)
        let one = try await TestNode(server, prefix: prefix, countInterval: .milliseconds(100), maxUntoldLosses: 1)
        let other = try await TestNode(server, prefix: prefix, countInterval: .milliseconds(100))
        let rooms = try ["room", "other"].map(channel)
        for room in rooms { try await loseTail(one, room, shell) }
        for room in rooms { try await other.subscribe(room) }
        try shell.run("ACL", "SETUSER", "default", "-get")
        try shell.run("CLIENT", "KILL", "TYPE", "normal")
        for node in [one, other] { try await node.compareCounters() }
        try shell.run("ACL", "SETUSER", "default", "+get")
        let isTold = await eventually { rooms.contains { other.events.losses($0.text) == 1 } }
        #expect(isTold)
        for node in [one, other] { try await node.compareCounters() }
        #expect(rooms.map { other.events.losses($0.text) }.reduce(0, +) == 1)
    }

    @Test("An idempotency key holds on all nodes")
    func idempotency() async throws {
        let (one, other, _) = try await pair()
        let room = try channel("room")
        try await other.subscribe(room)
        let first = try await one.publish("x", to: room, id: "key")
        let again = try await other.publish("y", to: room, id: "key")
        #expect(first.offset == again.offset && first.id == again.id)
        _ = try await one.publish("z", to: room)
        let isReceived = await eventually { other.texts(room) == ["x", "z"] }
        #expect(isReceived)
    }

    @Test("Occupancy is that of the cluster")
    func occupancy() async throws {
        let (one, other, _) = try await pair()
        let room = try channel("room")
        try await one.subscribe(room)
        try await other.subscribe(room)
        one.broker.unsubscribe(room)
        _ = try await one.publish("x", to: room)
        other.broker.unsubscribe(room)
        let isTold = await eventually { other.events.occupancy.map(\.isOccupied) == [false] }
        #expect(isTold && one.events.occupancy.map(\.isOccupied) == [true])
    }

    @Test("A node that dies is taken out of its channels; one that stops takes itself out")
    func lostNode() async throws {
        let server = try await Self.server.value
        let survivor = try await TestNode(server, prefix: prefix, lease: .milliseconds(500))
        let room = try channel("room")
        try await survivor.subscribe(try channel("other"))
        for isOrderly in [false, true] {
            let node = try await TestNode(server, prefix: prefix, lease: .milliseconds(500))
            try await node.subscribe(room)
            let areBoth = await eventually { survivor.broker.nodeCount == 2 }
            #expect(areBoth)
            #expect(try await survivor.broker.head(of: room).channel == room)
            if isOrderly { await node.broker.stop() } else { node.broker.abandon() }
            let isAlone = await eventually { survivor.broker.nodeCount == 1 }
            #expect(isAlone)
            let teller = isOrderly ? node : survivor
            let isVacated = await eventually {
                teller.events.occupancy.last { $0.channel == "room" }?.isOccupied == false
            }
            #expect(isVacated)
            await #expect(throws: ChannelFailure.unknownChannel) { try await survivor.broker.head(of: room) }
        }
    }

    @Test("A node that was only taken for lost registers again, with its channels")
    func takenForLost() async throws {
        let (one, other, shell) = try await pair(lease: .milliseconds(500))
        let room = try channel("room")
        try await one.subscribe(room)
        let keys = ClusterKeys(prefix: prefix)
        for key in [keys.nodeList, keys.nodes(room)] { try shell.run("DEL", key) }
        await #expect(throws: ChannelFailure.unknownChannel) { try await other.broker.head(of: room) }
        let deadline = ContinuousClock.now + .seconds(10)
        while (try? await other.broker.head(of: room)) == nil, ContinuousClock.now < deadline {
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(try await other.broker.head(of: room).channel == room)
    }

    @Test("What is asked after the stop fails at once")
    func afterStop() async throws {
        let (one, _, _) = try await pair(history: 10)
        let room = try channel("room")
        await one.broker.stop()
        await #expect(throws: ChannelFailure.self) { _ = try await one.publish("x", to: room) }
        await #expect(throws: ChannelFailure.self) { _ = try await one.broker.head(of: room) }
        let subscribed: Result<ChannelReplay, ChannelFailure> = try await answer { completion in
            one.broker.subscribe(room, after: nil, reader: 0) { completion($0) }
        }
        let replayed: Result<Replay, ChannelFailure> = try await answer { completion in
            one.broker.replay(of: [room], since: nil, room: 1, overhead: 1) { completion($0) }
        }
        #expect(throws: ChannelFailure.self) { try subscribed.get() }
        #expect(throws: ChannelFailure.self) { try replayed.get() }
        let names: [String]? = await one.broker.query { $1($0.registry.nodes.map(\.name)) }
        #expect(names == nil)
    }

    @Test("While the engine is stopped publications fail in time; then everything is live again")
    func stopped() async throws {
        let server = try await RedisProcess()
        let (one, other) = (
            try await TestNode(server, prefix: prefix, history: 100),
            try await TestNode(server, prefix: prefix, history: 100)
        )
        let room = try channel("room")
        for node in [one, other] { try await node.subscribe(room) }
        _ = try await one.publish("before", to: room)
        server.signal(19)  // SIGSTOP
        let began = ContinuousClock.now
        await #expect(throws: ChannelFailure.self) { _ = try await one.publish("lost?", to: room) }
        #expect(ContinuousClock.now - began < .milliseconds(1_500))
        let publication = Publication(channel: room, format: .text, payload: ByteBuffer(string: "waits"))
        one.broker.publish(ChannelEnvelope(publication), id: nil, nil)
        server.signal(18)  // SIGCONT
        let isReceived = await eventually { other.texts(room).contains("waits") }
        #expect(isReceived && other.texts(room).count { $0 == "waits" } == 1)
        #expect(one.events.losses("room") == 0 && other.events.losses("room") == 0)
    }
}
