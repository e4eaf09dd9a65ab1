import NIOCore
import SidecarCore
import Testing

/// A publisher's own object.
private final class Context: Sendable {}

/// What is published and who receives it.
extension BrokerTrial {
    static let live = [
        BrokerCheck("Positions ascend, and messages are received in their order") { try await $0.order() },
        BrokerCheck("A message is received whole, and before its publisher hears where it is") { try await $0.whole() },
        BrokerCheck("The end of what is at hand is told") { try await $0.complete() },
        BrokerCheck("A message to a channel without subscribers has a position") { try await $0.noSubscribers() },
        BrokerCheck("Who unsubscribes receives nothing more, until the next time") { try await $0.unsubscribe() },
        BrokerCheck("Each channel has one order and loses nothing, however many publish at once") {
            try await $0.concurrent()
        },
        BrokerCheck("One caller's publications keep their order, though it waits for none") {
            try await $0.pipelined()
        },
        BrokerCheck("The first subscriber and the last are told, once each") { try await $0.occupancy() },
        BrokerCheck("An id is published once in a channel", needsIDs: true) { try await $0.ids() },
    ]

    private func order() async throws {
        let tested = try await make(size: 0)
        try await tested.subscribe(room)
        var positions: [ChannelPosition] = []
        for text in ["1", "2", "3"] { positions.append(try await tested.publish(text, to: room)) }
        #expect(zip(positions, positions.dropFirst()).allSatisfy { $0.offset < $1.offset && $0.epoch == $1.epoch })
        #expect(tested.events.texts("room") == ["1", "2", "3"])
        #expect(tested.events.received.map(\.position) == positions)
    }

    private func whole() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        let payload = ByteBuffer(bytes: [0, 0xFF, 0x0A])
        let publication = Publication(channel: room, format: .binary, payload: payload, event: "price")
        let context = Context()
        let envelope = ChannelEnvelope(publication, excluding: ExcludedConnection("me"), context: context)
        let receivedFirst: Int = try await answer { completion in
            tested.broker.publish(envelope, id: nil) { _ in completion(tested.events.received.count) }
        }
        #expect(receivedFirst == 1)
        let received = try #require(tested.events.received.first?.envelope)
        #expect(received.publication == publication && received.excluded == ExcludedConnection("me"))
        #expect(received.context === context && received.origin == nil)
    }

    private func complete() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        try await tested.publish("x", to: room)
        let isTold = await eventually { tested.events.incomplete == 0 }
        #expect(isTold)
    }

    private func noSubscribers() async throws {
        let tested = try await make()
        try await tested.subscribe(other)
        let first = try await tested.publish("1", to: room)
        let second = try await tested.publish("2", to: room)
        #expect(second.offset > first.offset && second.epoch == first.epoch)
        #expect(tested.events.received.isEmpty)
        let kept = try await tested.history(room, .after(nil))
        #expect(kept == ["1", "2"])
    }

    private func unsubscribe() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        try await tested.publish("1", to: room)
        tested.broker.unsubscribe(room)
        try await tested.publish("2", to: room)
        try await tested.subscribe(room)
        try await tested.subscribe(room)
        try await tested.publish("3", to: room)
        #expect(tested.events.texts("room") == ["1", "3"])
        tested.broker.unsubscribe(room)
        try await tested.publish("4", to: room)
        #expect(tested.events.texts("room") == ["1", "3"])
    }

    private func concurrent() async throws {
        let (publishers, count) = (8, 200)
        let tested = try await make()
        let channels = [room, other]
        for channel in channels { try await tested.subscribe(channel) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for publisher in 0..<publishers {
                group.addTask {
                    for number in 0..<count {
                        for channel in channels { try await tested.publish("\(publisher) \(number)", to: channel) }
                    }
                }
            }
            try await group.waitForAll()
        }
        for channel in channels {
            let received = tested.events.received.filter { $0.channel == channel.text }
            let offsets = received.map(\.position.offset)
            #expect(zip(offsets, offsets.dropFirst()).allSatisfy { $0 < $1 })
            for publisher in 0..<publishers {
                let own = received.map(\.text).filter { $0.hasPrefix("\(publisher) ") }
                #expect(own == (0..<count).map { "\(publisher) \($0)" })
            }
        }
    }

    private func pipelined() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        for number in 0..<100 { tested.broker.publish(BrokerUnderTest.envelope("\(number)", to: room), id: nil, nil) }
        try await tested.publish("last", to: room)
        #expect(tested.events.texts("room") == (0..<100).map(String.init) + ["last"])
    }

    private func occupancy() async throws {
        let tested = try await make()
        for _ in 0..<2 { try await tested.subscribe(room) }
        try await tested.publish("x", to: other)
        for _ in 0..<2 { tested.broker.unsubscribe(room) }
        tested.broker.unsubscribe(other)
        try await tested.subscribe(room)
        typealias Occupancy = BrokerEventRecorder.Occupancy
        let expected = [true, false, true].map { Occupancy(channel: "room", isOccupied: $0) }
        let isTold = await eventually { tested.events.occupancy == expected }
        #expect(isTold, "\(tested.events.occupancy)")
    }

    private func ids() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        let first = try await tested.publish(BrokerUnderTest.envelope("x", to: room), id: "a")
        let again = try await tested.publish(BrokerUnderTest.envelope("x", to: room), id: "a")
        let next = try await tested.publish(BrokerUnderTest.envelope("y", to: room), id: "b")
        let elsewhere = try await tested.publish(BrokerUnderTest.envelope("z", to: other), id: "a")
        #expect(first == again && first.offset < next.offset && elsewhere != first)
        #expect(tested.events.texts("room") == ["x", "y"])
    }
}
