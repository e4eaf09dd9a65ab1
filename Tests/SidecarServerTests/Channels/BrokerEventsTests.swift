import NIOCore
import NIOEmbedded
import NIOPosix
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("What a broker tells its node", .timeLimit(.minutes(1)))
struct BrokerEventsTests {
    @Test("Where messages are lost, a stream gets a reset between those before and after")
    func lost() throws {
        let stream = try StreamFixture(lastEventID: nil)
        stream.receive("live", at: 3)
        stream.broker.events.interrupted()
        stream.broker.resume(stream.room, isComplete: false)
        stream.receive("live", at: 5)
        let received = try stream.received()
        #expect(received == ["3 live", "reset", "5 live"])
    }

    @Test("An interruption without a loss is not noticed")
    func complete() throws {
        let stream = try StreamFixture(lastEventID: nil)
        stream.broker.events.interrupted()
        stream.broker.resume(stream.room, isComplete: true)
        stream.receive("live", at: 3)
        let received = try stream.received()
        #expect(received == ["3 live"])
    }

    @Test("A loss in several channels at once is one reset, and one elsewhere is none")
    func several() throws {
        let stream = try StreamFixture(lastEventID: nil, channels: "room, other")
        let other = try #require(ChannelName("other"))
        let elsewhere = try #require(ChannelName("elsewhere"))
        for channel in [stream.room, other] { stream.broker.resume(channel, isComplete: false) }
        let once = try stream.received()
        #expect(once == ["reset"])
        stream.broker.resume(elsewhere, isComplete: false)
        let nothing = try stream.received()
        #expect(nothing.isEmpty)
        stream.broker.resume(other, isComplete: false)
        let again = try stream.received()
        #expect(again == ["reset"])
    }

    @Test("A loss while a replay is awaited makes it incomplete")
    func pending() throws {
        let stream = try StreamFixture()
        stream.broker.resume(stream.room, isComplete: false)
        let early = try stream.received()
        #expect(early.isEmpty)
        stream.broker.answer(2...3)
        let received = try stream.received()
        #expect(received == ["reset", "2 x", "3 x", "3"])
    }

    @Test("A client that does not read gets the reset behind what waits for it")
    func slow() throws {
        let stream = try StreamFixture(["SLOW_CLIENT_ACTION": "drop-newest"], lastEventID: nil)
        stream.rig.client.isWritable = false
        stream.rig.client.pipeline.fireChannelWritabilityChanged()
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        stream.broker.resume(stream.room, isComplete: false)
        let early = try stream.received()
        #expect(early.isEmpty)
        stream.rig.client.isWritable = true
        stream.rig.client.pipeline.fireChannelWritabilityChanged()
        let received = try stream.received()
        #expect(received == ["3 live", "reset"])
    }

    /// A WebSocket that the app has subscribed to channels.
    private func webSocket(in channels: String, _ settings: [String: String]) throws -> (EdgeRig, DelayedBroker) {
        let rig = try EdgeRig(settings) { DelayedBroker(events: $0) }
        let broker = try #require(rig.shard.state.channels.broker as? DelayedBroker)
        try rig.clientSends(
            "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        try rig.appSends("HTTP/1.1 200 OK\r\nSidesocket-Subscribe: \(channels)\r\nContent-Length: 0\r\n\r\n")
        let answer = try rig.clientReceived()
        #expect(answer.hasPrefix("HTTP/1.1 101 "))
        return (rig, broker)
    }

    @Test("A raw WebSocket notices nothing")
    func webSocket() throws {
        let (rig, broker) = try webSocket(in: "room", ["SSE_PATHS": "/events"])
        let room = try #require(ChannelName("room"))
        broker.events.interrupted()
        broker.resume(room, isComplete: false)
        let nothing = try rig.clientReceived()
        #expect(nothing.isEmpty)
        broker.receive("live", at: 1, in: room)
        let frame = try rig.clientReceived()
        #expect(frame.hasSuffix("live"))
    }

    @Test("With gap=close a raw WebSocket is closed, also when it has missed messages of other channels too")
    func closes() throws {
        let (rig, broker) = try webSocket(in: "open, closed", ["CHANNEL_POLICIES": "closed=gap=close"])
        for name in ["open", "closed"] {
            broker.resume(try #require(ChannelName(name)), isComplete: false)
        }
        let frame = try rig.clientReceived()
        #expect(frame.hasSuffix("messages are lost"))
    }

    // MARK: Subscribers

    @Test("The broker hears of the first subscriber of a channel and of the last")
    func firstAndLast() throws {
        let stream = try StreamFixture()
        let second = try stream.anotherClient()
        try stream.open(second, nil)
        #expect(stream.broker.takeCalls() == ["subscribe room", "replay room since 1"])
        stream.receive("live", at: 3)
        let bySecond = try stream.received(by: second)
        #expect(bySecond == ["3 live"], "one that waits does not hold up another")
        stream.rig.client.close(promise: nil)
        stream.rig.loop.run()
        #expect(stream.broker.takeCalls() == [])
        stream.receive("live", at: 4)
        stream.broker.answer(2...3)
        let later = try stream.received(by: second)
        #expect(later == ["4 live"])
        second.close(promise: nil)
        stream.rig.loop.run()
        #expect(stream.broker.takeCalls() == ["unsubscribe room"])
    }

    // MARK: Threads

    @Test("An answer from another thread comes to the loop of its session")
    func otherThread() async throws {
        let configuration = try TestSettings.configuration(["SSE_PATHS": "/events"])
        let client = try Samples.client("192.0.2.1")
        let head = try Samples.head("GET /events HTTP/1.1", "Host: a")
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let isOnLoop = loop.makePromise(of: Bool.self)
        let broker = try await loop.submit {
            let shard = EdgeRig.makeShard(on: loop, configuration) { DelayedBroker(events: $0) }
            let session = BridgeSession(
                id: "x",
                handshake: head,
                client: ClientIdentity(address: "192.0.2.1", scheme: "http"),
                slot: try #require(shard.clients.admission.sessions.slots.open(for: client)),
                transportKind: .eventStream,
                context: shard.sessionContext
            )
            shard.channels.replay(to: session, since: nil, room: 1) { _ in isOnLoop.succeed(loop.inEventLoop) }
            return try #require(shard.state.channels.broker as? DelayedBroker)
        }.get()
        #expect(!loop.inEventLoop)
        broker.answer(.failure(.gone))
        let answer = try await isOnLoop.futureResult.get()
        #expect(answer)
    }
}
