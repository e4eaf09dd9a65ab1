import NIOCore
import SidecarCore
import Testing

/// What a returning subscriber gets.
extension BrokerTrial {
    static let replay = [
        BrokerCheck("A returning subscriber gets a complete replay, or hears of a gap") { try await $0.replay() },
        BrokerCheck("Without a history only an empty replay is complete") { try await $0.replayWithoutHistory() },
        BrokerCheck("Who was left out of a message does not get it when it comes again, and others do") {
            try await $0.excluded()
        },
        BrokerCheck("An event stream gets a replay of all its channels, in one order") { try await $0.streams() },
    ]

    private func replay() async throws {
        let tested = try await make(size: 3)
        let begin = try await tested.subscribe(room)
        #expect(begin.isComplete && begin.messages.isEmpty)
        var positions: [ChannelPosition] = []
        for number in 1...5 { positions.append(try await tested.publish("\(number)", to: room)) }
        for (known, expected) in [(positions[1], ["3", "4", "5"]), (positions[3], ["5"]), (positions[4], [])] {
            let replay = try await tested.subscribe(room, after: known)
            #expect(replay.isComplete && replay.texts == expected && replay.upTo == positions[4])
        }
        let lost = try await tested.subscribe(room, after: positions[0])
        #expect(!lost.isComplete && lost.messages.isEmpty && lost.upTo == positions[4])
        let now = try await tested.subscribe(room)
        #expect(now.isComplete && now.messages.isEmpty && now.upTo == positions[4])
    }

    private func replayWithoutHistory() async throws {
        let tested = try await make(size: 0)
        try await tested.subscribe(room)
        let first = try await tested.publish("1", to: room)
        let nothing = try await tested.subscribe(room, after: first)
        #expect(nothing.isComplete && nothing.messages.isEmpty)
        try await tested.publish("2", to: room)
        let something = try await tested.subscribe(room, after: first)
        #expect(!something.isComplete && something.messages.isEmpty)
    }

    private func excluded() async throws {
        let tested = try await make()
        let (me, you) = (ExcludedConnection("me").reader, ExcludedConnection("you").reader)
        try await tested.subscribe(room)
        let first = try await tested.publish("0", to: room)
        try await tested.publish("mine", to: room, excluding: "me")
        let last = try await tested.publish("1", to: room)
        for (reader, expected) in [(me, ["1"]), (you, ["mine", "1"]), (0, ["mine", "1"])] {
            let replay = try await tested.subscribe(room, after: first, reader: reader)
            #expect(replay.isComplete && replay.texts == expected && replay.upTo == last)
        }
        let kept = try await tested.history(room, .after(nil))
        #expect(kept == ["0", "mine", "1"])
    }

    private func streams() async throws {
        let tested = try await make(size: 3, servesStreams: true)
        let third = try #require(ChannelName("third"))
        var first = StreamCursor(.channels([]))
        for channel in [room, other] { first.advance(by: try await tested.subscribe(channel).upTo.mark) }
        let zero = try await tested.publish("0", to: room).mark
        first.advance(by: zero)
        for (text, channel) in [("1", other), ("2", room), ("3", third), ("4", other)] {
            try await tested.publish(text, to: channel)
        }
        let last = try await tested.publish("mine", to: other, excluding: "me").mark
        let me = ExcludedConnection("me").reader
        let all = try await tested.replay([room, other], since: first)
        #expect(Set(all.texts) == ["1", "2", "4", "mine"] && all.isComplete)
        #expect(all.texts.filter { $0 != "2" } == ["1", "4", "mine"])
        let own = try await tested.replay([room, other], since: first.read(by: me))
        #expect(own.texts.filter { $0 != "2" } == ["1", "4"] && own.isComplete)
        let isReceived = await eventually { tested.events.received.count == 5 }
        #expect(isReceived)
        let live = tested.events.received.map(\.position.mark)
        #expect(live.first == zero && live.last == last)
        var end = first
        for mark in live { end.advance(by: mark) }
        #expect(first.isCovered(by: end) && !end.isCovered(by: first) && last.isCovered(by: end))
        let nothing = try await tested.replay([room, other], since: end)
        #expect(nothing == ([], true))
        try await tested.publish("5", to: other)
        let lost = try await tested.replay([room, other], since: first)
        #expect(!lost.isComplete)
        let unknown = try await tested.replay([room, other], since: nil)
        #expect(!unknown.isComplete)
    }
}

extension ChannelReplay {
    fileprivate var texts: [String] { messages.map { String(buffer: $0.payload) } }
}
