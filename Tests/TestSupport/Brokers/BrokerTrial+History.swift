import NIOCore
import SidecarCore
import Testing

/// What is kept, and what is known of channels.
extension BrokerTrial {
    static let history = [
        BrokerCheck("The newest messages are kept, and read after an offset or from the end") {
            try await $0.history()
        },
        BrokerCheck("A message is kept for its time") { try await $0.expiry() },
        BrokerCheck("A channel that keeps nothing has no history") { try await $0.noHistory() },
        BrokerCheck("Who has lost count hears of it: the epoch is another one") { try await $0.epochs() },
        BrokerCheck("Channels are listed by name, a part at a time, with their heads") { try await $0.list() },
    ]

    private func history() async throws {
        let tested = try await make(size: 3)
        var positions: [ChannelPosition] = []
        for number in 1...5 { positions.append(try await tested.publish("\(number)", to: room)) }
        let (offsets, epoch) = (positions.map(\.offset), positions[0].epoch)
        let cases: [(HistoryPart, Int, [String]?)] = [
            (.after(nil), 100, ["3", "4", "5"]), (.after(nil), 2, ["3", "4"]),
            (.after(offsets[1]), 100, ["3", "4", "5"]), (.after(offsets[3]), 100, ["5"]),
            (.after(offsets[2]), 1, ["4"]),
            (.after(offsets[4]), 100, []), (.after(offsets[0]), 100, nil), (.after(offsets[4] + 1), 100, nil),
            (.after(.max), 100, nil), (.newest, 1, ["5"]), (.newest, 2, ["4", "5"]), (.newest, 100, ["3", "4", "5"]),
        ]
        for (part, limit, expected) in cases {
            let found = try await tested.history(room, part, epoch: epoch, limit: limit)
            #expect(found == expected, "\(part), \(limit) at most")
        }
        let another = try await tested.history(room, .after(offsets[3]), epoch: ChannelEpoch(epoch.bits &+ 1))
        #expect(another == nil)
    }

    private func expiry() async throws {
        let tested = try await make()
        try await tested.subscribe(room)
        let first = try await tested.publish("1", to: room)
        try await tested.pass(.nanoseconds(BrokerUnderTest.ttl.nanoseconds / 2))
        let second = try await tested.publish("2", to: room)
        let both = try await tested.history(room, .after(nil))
        #expect(both == ["1", "2"])
        try await tested.pass(.nanoseconds(BrokerUnderTest.ttl.nanoseconds * 3 / 4))
        let one = try await tested.history(room, .after(nil))
        #expect(one == ["2"])
        try await tested.pass(BrokerUnderTest.ttl)
        let none = try await tested.history(room, .after(second.offset), epoch: second.epoch)
        let gone = try await tested.history(room, .after(first.offset), epoch: first.epoch)
        #expect(none == [] && gone == nil)
        #expect(tested.broker.statistics.historyBytes == 0)
    }

    private func noHistory() async throws {
        let tested = try await make(size: 0)
        try await tested.subscribe(room)
        try await tested.publish("x", to: room)
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.history(room, .after(nil)) }
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.history(room, .newest) }
    }

    private func epochs() async throws {
        let tested = try await make()
        let old = try await tested.publish("old", to: room)
        // Long enough for a position that nobody needs to be forgotten.
        try await tested.pass(.hours(48))
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.head(room) }
        let gone = try await tested.history(room, .after(old.offset), epoch: old.epoch)
        let new = try await tested.publish("new", to: room)
        #expect(gone == nil && new.epoch != old.epoch)
        let replay = try await tested.subscribe(room, after: old)
        #expect(!replay.isComplete && replay.messages.isEmpty && replay.upTo == new)
    }

    private func list() async throws {
        let tested = try await make()
        var names: [ChannelName] = []
        for number in 10..<20 { names.append(try #require(ChannelName("list:\(number)"))) }
        for name in names.reversed() { try await tested.publish("x", to: name) }
        let quiet = try #require(ChannelName("quiet"))
        try await tested.subscribe(quiet)
        let last = try await tested.publish("y", to: names[0])
        let all = try await tested.broker.channels(prefix: "list:", after: nil, limit: 100)
        #expect(all.map(\.channel) == names && all.first?.position == last)
        let part = try await tested.broker.channels(prefix: "list:", after: names[2].text, limit: 3)
        #expect(part.map(\.channel) == Array(names[3...5]))
        let subscribed = try await tested.broker.channels(prefix: "q", after: nil, limit: 1)
        #expect(subscribed.map(\.channel) == [quiet])
        let head = try await tested.head(names[0])
        #expect(head == ChannelHead(channel: names[0], position: last))
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.head(room) }
        // With histories in this process it has all of them.
        #expect((1...11).contains(tested.broker.statistics.channels))
    }
}
