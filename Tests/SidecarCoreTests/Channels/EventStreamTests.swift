import NIOCore
import Testing

@testable import SidecarCore

@Suite("Event streams")
struct EventStreamTests {
    private func event(_ format: MessageFormat, _ text: String, id: String? = nil, event: String? = nil) -> String {
        var buffer = ByteBuffer()
        EventStreamText.write(format, ByteBuffer(string: text), id: id, event: event, into: &buffer)
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

    @Test("Id and type come first; binary is base64 with a type of its own")
    func fields() {
        #expect(event(.text, "x", id: "a-1", event: "price") == "id: a-1\nevent: price\ndata: x\n\n")
        #expect(event(.binary, "x", id: "a-1") == "id: a-1\nevent: binary\ndata: eA==\n\n")
    }

    @Test("A cursor is read as it is written, and what is none is refused")
    func cursors() {
        let cursor = StreamCursor(epoch: .max, sequence: 12_345)
        #expect(StreamCursor(cursor.text) == cursor)
        for text in ["", "-", "a", "a-", "-a", "a-b-c", "ä-1", "1--1", "zzzzzzzzzzzzzzzzz-1", "1-\n", " 1-1"] {
            #expect(StreamCursor(text) == nil, "\(text)")
        }
    }

    private func engine(size: Int) -> MemoryChannelEngine {
        var settings = SettingsRegistry.defaults
        settings.historySize = size
        return MemoryChannelEngine(rules: ChannelRules(settings), maxHistoryBytes: 1 << 20, servesStreams: true) { 7 }
    }

    private func publish(_ engine: MemoryChannelEngine, _ text: String, to channel: String) throws -> StreamCursor {
        let name = try #require(ChannelName(channel))
        var cursor: StreamCursor?
        engine.publish(
            Publication(channel: name, format: .text, payload: ByteBuffer(string: text)),
            now: 0,
            unixMilliseconds: 0
        ) { result, _ in cursor = try? result.get().cursor }
        return try #require(cursor)
    }

    private func missed(_ engine: MemoryChannelEngine, _ channels: String..., since cursor: StreamCursor?) throws
        -> (texts: [String], isComplete: Bool)
    {
        let missed = engine.missed(try channels.map { try #require(ChannelName($0)) }, since: cursor, now: 0)
        return (missed.messages.map { String(buffer: $0.message.payload) }, missed.isComplete)
    }

    @Test("What was missed comes in the order of all channels, and of no other")
    func order() throws {
        let engine = engine(size: 10)
        let first = try publish(engine, "0", to: "a")
        for (text, channel) in [("1", "b"), ("2", "a"), ("3", "c"), ("4", "b")] {
            _ = try publish(engine, text, to: channel)
        }
        let found = try missed(engine, "a", "b", "none", since: first)
        #expect(found.texts == ["1", "2", "4"] && found.isComplete)
    }

    @Test("What is not kept any more makes it incomplete: fallen out, of a channel that is gone, or of another process")
    func gaps() throws {
        let engine = engine(size: 2)
        let first = try publish(engine, "0", to: "a")
        let second = try publish(engine, "1", to: "a")
        for text in ["2", "3"] { _ = try publish(engine, text, to: "a") }
        #expect(try missed(engine, "a", since: first) == (["2", "3"], false))
        #expect(try missed(engine, "a", since: second) == (["2", "3"], true))
        #expect(try !missed(engine, "a", since: nil).isComplete)
        #expect(try !missed(engine, "a", since: StreamCursor(epoch: 8, sequence: 1)).isComplete)
        #expect(try !missed(engine, "a", since: StreamCursor(epoch: 7, sequence: 99)).isComplete)
        let silent = self.engine(size: 0)
        let seen = try publish(silent, "x", to: "a")
        #expect(try missed(silent, "b", since: seen).isComplete)
        _ = try publish(silent, "y", to: "b")
        #expect(try !missed(silent, "b", since: seen).isComplete)
    }
}
