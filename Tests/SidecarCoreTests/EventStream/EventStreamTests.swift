import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

@Suite("Event streams")
struct EventStreamTests {
    private func event(_ format: MessageFormat, _ text: String, event: String? = nil) -> String {
        var buffer = ByteBuffer()
        EventStreamText.write(format, ByteBuffer(string: text), event: event, into: &buffer)
        return String(buffer: buffer)
    }

    private func text(_ cursor: StreamCursor) -> String {
        var buffer = ByteBuffer()
        cursor.write(into: &buffer)
        return String(buffer: buffer)
    }

    @Test(
        "Each line of a text is a data line, whatever ends it",
        arguments: [
            ("", "data: \n\n"), ("a", "data: a\n\n"), ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb\rc", "data: a\ndata: b\ndata: c\n\n"), ("\n", "data: \ndata: \n\n"),
            ("a\r", "data: a\ndata: \n\n"), ("event: x\nid: 7", "data: event: x\ndata: id: 7\n\n"),
        ]
    )
    func lines(text: String, expected: String) {
        #expect(event(.text, text) == expected)
    }

    @Test("The type comes first; binary is base64 with a type of its own; an id stands before them")
    func fields() {
        #expect(event(.text, "x", event: "price") == "event: price\ndata: x\n\n")
        #expect(event(.binary, "x") == "event: binary\ndata: eA==\n\n")
        var line = ByteBuffer()
        EventStreamText.writeID(StreamCursor(epoch: 10, sequence: 1, reader: 35), into: &line)
        #expect(String(buffer: line) == "id: a-1-z\n")
    }

    @Test("A cursor is read as it is written, and what is none is refused")
    func cursors() {
        for cursor in [
            StreamCursor(epoch: .max, sequence: 12_345), StreamCursor(epoch: .max, sequence: .max, reader: .max),
            StreamCursor(epoch: 1, sequence: 0).read(by: StreamCursor.reader("Zk3")),
        ] {
            #expect(StreamCursor(text(cursor)) == cursor)
        }
        for text in [
            "", "-", "a", "a-", "-a", "a-b-", "a-b-c-d", "ä-1", "1--1", "zzzzzzzzzzzzzzzzz-1", "1-\n", " 1-1",
            "1-1-zzzzzzzzzzzzzzzzz", String(repeating: "0", count: 40) + "1-000001-1",
        ] {
            #expect(StreamCursor(text) == nil, "\(text)")
        }
    }

    private func broker(size: Int) -> MemoryChannelBroker {
        var settings = SettingsRegistry.defaults
        settings.historySize = size
        return MemoryChannelBroker(
            events: BrokerEventRecorder(),
            rules: ChannelRules(settings),
            maxHistoryBytes: 1 << 28,
            servesStreams: true,
            clock: ManualChannelClock().clock,
            makeEpoch: { 7 }
        )
    }

    @discardableResult
    private func publish(
        _ broker: MemoryChannelBroker,
        _ text: String,
        to channel: String,
        excluding id: String? = nil
    ) throws -> StreamCursor {
        let name = try #require(ChannelName(channel))
        let answer = AnswerBox<Result<ChannelPosition, ChannelFailure>>()
        let publication = Publication(channel: name, format: .text, payload: ByteBuffer(string: text))
        broker.publish(ChannelEnvelope(publication, excluding: id.map(ExcludedConnection.init)), id: nil) {
            answer.set($0)
        }
        let result = try #require(answer.value)
        var cursor = StreamCursor(.channels([]))
        cursor.advance(by: try result.get().mark)
        return cursor
    }

    private func replay(
        _ broker: MemoryChannelBroker,
        _ channels: String...,
        since cursor: StreamCursor?,
        room: Int = 1 << 20
    ) throws -> (texts: [String], isComplete: Bool) {
        let names = try channels.map { try #require(ChannelName($0)) }
        let answer = AnswerBox<Result<Replay, ChannelFailure>>()
        broker.replay(of: names, since: cursor, room: room, overhead: 100) { answer.set($0) }
        let result = try #require(answer.value)
        let found = try result.get()
        return (found.messages.map { String(buffer: $0.message.payload) }, found.isComplete)
    }

    @Test("A replay is in the order of all channels, and of no other")
    func order() throws {
        let broker = broker(size: 10)
        let first = try publish(broker, "0", to: "a")
        for (text, channel) in [("1", "b"), ("2", "a"), ("3", "c"), ("4", "b")] {
            _ = try publish(broker, text, to: channel)
        }
        let found = try replay(broker, "a", "b", "none", since: first)
        #expect(found.texts == ["1", "2", "4"] && found.isComplete)
    }

    @Test("Who was left out of a message does not get it when it comes again, and others do")
    func excluded() throws {
        let broker = broker(size: 10)
        let (me, you) = (StreamCursor.reader("me"), StreamCursor.reader("you"))
        let first = try publish(broker, "0", to: "a")
        try publish(broker, "mine", to: "a", excluding: "me")
        try publish(broker, "yours", to: "b", excluding: "you")
        try publish(broker, "1", to: "b")
        #expect(try replay(broker, "a", "b", since: first.read(by: me)) == (["yours", "1"], true))
        #expect(try replay(broker, "a", "b", since: first.read(by: you)) == (["mine", "1"], true))
        #expect(try replay(broker, "a", "b", since: first) == (["mine", "yours", "1"], true))
        // It takes no room, either.
        #expect(try replay(broker, "a", since: first.read(by: me), room: 0) == ([], true))
    }

    @Test("Only the newest that fit are read, however many there are")
    func room() throws {
        let broker = broker(size: 100_000)
        let first = try publish(broker, "x", to: "a")
        for number in 0..<30_000 { try publish(broker, "\(10_000 + number)", to: number % 3 == 0 ? "b" : "a") }
        let found = try replay(broker, "a", "b", since: first, room: 4 * 105 + 104)
        #expect(found == (["39996", "39997", "39998", "39999"], false))
        #expect(broker.visits == 5)
        let last = try replay(broker, "a", "b", since: StreamCursor(epoch: 7, sequence: 29_999))
        #expect(last == (["39998", "39999"], true))
        #expect(broker.visits == 7)
    }

    @Test("Nor are more than so many looked at that a stream does not get")
    func manyExcluded() throws {
        let broker = broker(size: 100_000)
        let first = try publish(broker, "x", to: "a").read(by: StreamCursor.reader("me"))
        for _ in 0..<20_000 { try publish(broker, "mine", to: "a", excluding: "me") }
        #expect(try replay(broker, "a", since: first) == ([], false))
        #expect(broker.visits == Replay.mostLookedAt)
    }

    @Test("What is not kept any more makes it incomplete: fallen out, of a channel that is gone, or of another process")
    func gaps() throws {
        let broker = broker(size: 2)
        let first = try publish(broker, "0", to: "a")
        let second = try publish(broker, "1", to: "a")
        for text in ["2", "3"] { _ = try publish(broker, text, to: "a") }
        #expect(try replay(broker, "a", since: first) == (["2", "3"], false))
        #expect(try replay(broker, "a", since: second) == (["2", "3"], true))
        #expect(try !replay(broker, "a", since: nil).isComplete)
        #expect(try !replay(broker, "a", since: StreamCursor(epoch: 8, sequence: 1)).isComplete)
        #expect(try !replay(broker, "a", since: StreamCursor(epoch: 7, sequence: 99)).isComplete)
        let silent = self.broker(size: 0)
        let seen = try publish(silent, "x", to: "a")
        #expect(try replay(silent, "b", since: seen).isComplete)
        _ = try publish(silent, "y", to: "b")
        #expect(try !replay(silent, "b", since: seen).isComplete)
    }
}
