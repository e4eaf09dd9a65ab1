import NIOCore
import Testing

@testable import SidecarCore

/// A kind of broker that ``ChannelBrokerConformance`` tries.
struct BrokerKind: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Whether it publishes once for all calls with the same id.
    let remembersIDs: Bool
    /// A broker without channels, on a node that nobody else uses.
    let make: @Sendable (_ settings: Settings, _ servesStreams: Bool) async throws -> BrokerUnderTest

    /// All that there are.
    static let all = [memory]

    static let memory = BrokerKind(testDescription: "memory", remembersIDs: false) { settings, servesStreams in
        let (clock, events, epochs) = (ManualChannelClock(), BrokerEventRecorder(), EpochCounter())
        let broker = MemoryChannelBroker(
            events: events,
            rules: ChannelRules(settings),
            maxHistoryBytes: 1 << 20,
            servesStreams: servesStreams,
            clock: clock.clock,
            makeEpoch: epochs.next
        )
        return BrokerUnderTest(broker: broker, events: events) { time in
            clock.advance(by: time)
            _ = broker.removeExpired()
        }
    }
}

/// A broker, what it has told its node, and its time.
struct BrokerUnderTest: Sendable {
    static let ttl = TimeAmount.seconds(10)

    let broker: any ChannelBroker
    let events: BrokerEventRecorder
    /// Lets time pass for it.
    let pass: @Sendable (TimeAmount) async throws -> Void

    static func envelope(
        _ text: String,
        to channel: ChannelName,
        excluding id: String? = nil,
        context: (any AnyObject & Sendable)? = nil
    ) -> ChannelEnvelope {
        let publication = Publication(channel: channel, format: .text, payload: ByteBuffer(string: text))
        return ChannelEnvelope(publication, excluding: id.map(ExcludedConnection.init), context: context)
    }

    func publish(_ envelope: ChannelEnvelope, id: String? = nil) async throws -> ChannelPosition {
        let result = await withCheckedContinuation { continuation in
            broker.publish(envelope, id: id) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    @discardableResult
    func publish(_ text: String, to channel: ChannelName, excluding id: String? = nil) async throws -> ChannelPosition {
        try await publish(Self.envelope(text, to: channel, excluding: id))
    }

    @discardableResult
    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition? = nil,
        reader: UInt64 = 0
    ) async throws -> ChannelReplay {
        let result = await withCheckedContinuation { continuation in
            broker.subscribe(channel, after: position, reader: reader) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// The texts of what is kept; nil when it is gone.
    func history(
        _ channel: ChannelName,
        _ part: HistoryPart,
        epoch: ChannelEpoch? = nil,
        limit: Int = 100
    ) async throws -> [String]? {
        do throws(ChannelFailure) {
            let found = try await broker.history(of: channel, part, epoch: epoch?.description, limit: limit)
            return found.messages.map { String(buffer: $0.payload) }
        } catch {
            // The compiler does not take a pattern here.
            guard error == .gone else { throw error }
            return nil
        }
    }

    func head(_ channel: ChannelName) async throws -> ChannelHead { try await broker.head(of: channel) }

    func replay(
        _ channels: [ChannelName],
        since cursor: StreamCursor?
    ) async throws -> (texts: [String], isComplete: Bool) {
        let result = await withCheckedContinuation { continuation in
            broker.replay(of: channels, since: cursor, room: 1 << 20, overhead: 100) {
                continuation.resume(returning: $0)
            }
        }
        let replay = try result.get()
        return (replay.messages.map { String(buffer: $0.message.payload) }, replay.isComplete)
    }
}

extension ChannelReplay {
    fileprivate var texts: [String] { messages.map { String(buffer: $0.payload) } }
}

/// What is expected of each broker; see ``ChannelBroker``.
@Suite("Every broker", .timeLimit(.minutes(2)))
struct ChannelBrokerConformance {
    private let room: ChannelName
    private let other: ChannelName

    init() throws {
        room = try #require(ChannelName("room"))
        other = try #require(ChannelName("room:other"))
    }

    private func make(_ kind: BrokerKind, size: Int = 3, servesStreams: Bool = false) async throws -> BrokerUnderTest {
        var settings = SettingsRegistry.defaults
        settings.historySize = size
        settings.historyTTL = BrokerUnderTest.ttl
        return try await kind.make(settings, servesStreams)
    }

    // MARK: Live

    @Test("Positions ascend, and messages are received in their order", arguments: BrokerKind.all)
    func order(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 0)
        try await tested.subscribe(room)
        var positions: [ChannelPosition] = []
        for text in ["1", "2", "3"] { positions.append(try await tested.publish(text, to: room)) }
        #expect(zip(positions, positions.dropFirst()).allSatisfy { $0.offset < $1.offset && $0.epoch == $1.epoch })
        #expect(tested.events.texts("room") == ["1", "2", "3"])
        #expect(tested.events.received.map(\.position) == positions)
    }

    @Test("A message is received whole, and before its publisher hears where it is", arguments: BrokerKind.all)
    func whole(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        try await tested.subscribe(room)
        let payload = ByteBuffer(bytes: [0, 0xFF, 0x0A])
        let publication = Publication(channel: room, format: .binary, payload: payload, event: "price")
        let context = EpochCounter()
        let envelope = ChannelEnvelope(publication, excluding: ExcludedConnection("me"), context: context)
        let receivedFirst = await withCheckedContinuation { continuation in
            tested.broker.publish(envelope, id: nil) { _ in
                continuation.resume(returning: tested.events.received.count)
            }
        }
        #expect(receivedFirst == 1)
        let received = try #require(tested.events.received.first?.envelope)
        #expect(received.publication == publication && received.excluded == ExcludedConnection("me"))
        #expect(received.context === context && received.origin == nil)
    }

    @Test("The end of what is at hand is told", arguments: BrokerKind.all)
    func complete(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        try await tested.subscribe(room)
        try await tested.publish("x", to: room)
        while tested.events.incomplete > 0 { await Task.yield() }
    }

    @Test("A message to a channel without subscribers has a position", arguments: BrokerKind.all)
    func noSubscribers(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        try await tested.subscribe(other)
        let first = try await tested.publish("1", to: room)
        let second = try await tested.publish("2", to: room)
        #expect(second.offset > first.offset && second.epoch == first.epoch)
        #expect(tested.events.received.isEmpty)
        let kept = try await tested.history(room, .after(nil))
        #expect(kept == ["1", "2"])
    }

    @Test("Who unsubscribes receives nothing more, until the next time", arguments: BrokerKind.all)
    func unsubscribe(kind: BrokerKind) async throws {
        let tested = try await make(kind)
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

    @Test("Each channel has one order and loses nothing, however many publish at once", arguments: BrokerKind.all)
    func concurrent(kind: BrokerKind) async throws {
        let (publishers, count) = (8, 200)
        let tested = try await make(kind)
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

    @Test("One caller's publications keep their order, though it waits for none", arguments: BrokerKind.all)
    func pipelined(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        try await tested.subscribe(room)
        for number in 0..<100 { tested.broker.publish(BrokerUnderTest.envelope("\(number)", to: room), id: nil, nil) }
        try await tested.publish("last", to: room)
        #expect(tested.events.texts("room") == (0..<100).map(String.init) + ["last"])
    }

    @Test("The first subscriber and the last are told, once each", arguments: BrokerKind.all)
    func occupancy(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        for _ in 0..<2 { try await tested.subscribe(room) }
        try await tested.publish("x", to: other)
        for _ in 0..<2 { tested.broker.unsubscribe(room) }
        tested.broker.unsubscribe(other)
        try await tested.subscribe(room)
        typealias Occupancy = BrokerEventRecorder.Occupancy
        #expect(
            tested.events.occupancy == [
                Occupancy(channel: "room", isOccupied: true), Occupancy(channel: "room", isOccupied: false),
                Occupancy(channel: "room", isOccupied: true),
            ]
        )
    }

    @Test("An id is published once in a channel", arguments: BrokerKind.all.filter(\.remembersIDs))
    func ids(kind: BrokerKind) async throws {
        let tested = try await make(kind)
        try await tested.subscribe(room)
        let first = try await tested.publish(BrokerUnderTest.envelope("x", to: room), id: "a")
        let again = try await tested.publish(BrokerUnderTest.envelope("x", to: room), id: "a")
        let next = try await tested.publish(BrokerUnderTest.envelope("y", to: room), id: "b")
        let elsewhere = try await tested.publish(BrokerUnderTest.envelope("z", to: other), id: "a")
        #expect(first == again && first.offset < next.offset && elsewhere != first)
        #expect(tested.events.texts("room") == ["x", "y"])
    }

    // MARK: History

    @Test("The newest messages are kept, and read after an offset or from the end", arguments: BrokerKind.all)
    func history(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 3)
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

    @Test("A message is kept for its time", arguments: BrokerKind.all)
    func expiry(kind: BrokerKind) async throws {
        let tested = try await make(kind)
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

    @Test("A channel that keeps nothing has no history", arguments: BrokerKind.all)
    func noHistory(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 0)
        try await tested.subscribe(room)
        try await tested.publish("x", to: room)
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.history(room, .after(nil)) }
        await #expect(throws: ChannelFailure.unknownChannel) { try await tested.history(room, .newest) }
    }

    @Test("Who has lost count hears of it: the epoch is another one", arguments: BrokerKind.all)
    func epochs(kind: BrokerKind) async throws {
        let tested = try await make(kind)
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

    @Test("Channels are listed by name, a part at a time, with their heads", arguments: BrokerKind.all)
    func list(kind: BrokerKind) async throws {
        let tested = try await make(kind)
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
        #expect(tested.broker.statistics.channels == 11)
    }

    // MARK: Replay

    @Test("A returning subscriber gets a complete replay, or hears of a gap", arguments: BrokerKind.all)
    func replay(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 3)
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

    @Test("Without a history only an empty replay is complete", arguments: BrokerKind.all)
    func replayWithoutHistory(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 0)
        try await tested.subscribe(room)
        let first = try await tested.publish("1", to: room)
        let nothing = try await tested.subscribe(room, after: first)
        #expect(nothing.isComplete && nothing.messages.isEmpty)
        try await tested.publish("2", to: room)
        let something = try await tested.subscribe(room, after: first)
        #expect(!something.isComplete && something.messages.isEmpty)
    }

    @Test("Who was left out of a message does not get it when it comes again, and others do", arguments: BrokerKind.all)
    func excluded(kind: BrokerKind) async throws {
        let tested = try await make(kind)
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

    @Test("An event stream gets a replay of all its channels, in one order", arguments: BrokerKind.all)
    func streams(kind: BrokerKind) async throws {
        let tested = try await make(kind, size: 3, servesStreams: true)
        let third = try #require(ChannelName("third"))
        for channel in [room, other] { try await tested.subscribe(channel) }
        let first = try await tested.publish("0", to: room).cursor
        for (text, channel) in [("1", other), ("2", room), ("3", third), ("4", other)] {
            try await tested.publish(text, to: channel)
        }
        let mine = try await tested.publish("mine", to: other, excluding: "me").cursor
        let me = ExcludedConnection("me").reader
        let all = try await tested.replay([room, other], since: first)
        #expect(all == (["1", "2", "4", "mine"], true))
        let own = try await tested.replay([room, other], since: first.read(by: me))
        #expect(own == (["1", "2", "4"], true))
        let live = tested.events.received.map(\.position.cursor)
        #expect(live.first == first && live.last == mine && first.isCovered(by: mine) && !mine.isCovered(by: first))
        let nothing = try await tested.replay([room, other], since: mine)
        #expect(nothing == ([], true))
        try await tested.publish("5", to: other)
        let lost = try await tested.replay([room, other], since: first)
        #expect(!lost.isComplete)
        let unknown = try await tested.replay([room, other], since: nil)
        #expect(!unknown.isComplete)
    }
}
