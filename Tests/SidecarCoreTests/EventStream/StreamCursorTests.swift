import NIOCore
import Testing

@testable import SidecarCore

@Suite("Cursors with a position in each channel")
struct StreamCursorTests {
    private func channel(_ name: String) throws -> ChannelName { try #require(ChannelName(name)) }

    private func mark(_ name: String, _ offset: UInt64, epoch: UInt64 = 1) throws -> ChannelMark {
        ChannelMark(try channel(name), epoch: ChannelEpoch(epoch), offset: offset, id: MessageID(offset << 32 | 7))
    }

    private func text(_ cursor: StreamCursor) -> String {
        var buffer = ByteBuffer()
        cursor.write(into: &buffer)
        return String(buffer: buffer)
    }

    @Test("A cursor is read as it is written, without the epochs")
    func roundTrip() throws {
        var cursor = StreamCursor(.channels([]), reader: .max)
        #expect(StreamCursor(text(cursor)) == cursor)
        for (name, offset) in [("a", 1), ("b", 1 << 53), ("c", .max)] as [(String, UInt64)] {
            cursor.advance(by: .channel(try mark(name, offset)))
        }
        cursor.advance(by: .channel(ChannelMark(unknownIn: try channel("d"))))
        let read = try #require(StreamCursor(text(cursor)))
        #expect(read.reader == .max)
        for name in ["a", "b", "c"] {
            let (one, other) = (
                try #require(cursor.mark(of: channel(name))), try #require(read.mark(of: channel(name)))
            )
            #expect(one.offset == other.offset && one.check == other.check && other.epoch == ChannelEpoch(0))
        }
        #expect(try read.mark(of: channel("d"))?.offset == nil && read.mark(of: channel("d")) != nil)
        #expect(try read.mark(of: channel("e")) == nil)
    }

    @Test("What is none is refused")
    func refused() {
        for text in [
            "c.", "c.-", "c.1.", "c.1..2", "c.1.2-3", "c.1.2-3-4-5", "c.1.zzzzzzz-1-1", "c.1.1-1-zzzzzzz",
            "c.1.1--1", "c.zzzzzzzzzzzzzz", "c.1.ä", "C.1",
            "c.1" + String(repeating: ".1-1-1", count: StreamCursor.mostMarks + 1),
            "c." + String(repeating: "0", count: 9_000),
        ] {
            #expect(StreamCursor(text) == nil, "\(text.prefix(40))")
        }
        #expect(StreamCursor("c.1" + String(repeating: ".1-1-1", count: StreamCursor.mostMarks)) != nil)
    }

    @Test("A cursor names no more channels than it can, and is none beyond")
    func tooMany() throws {
        var cursor = StreamCursor(.channels([]))
        for number in 0...StreamCursor.mostMarks { cursor.advance(by: .channel(try mark("c\(number)", 1))) }
        #expect(StreamCursor(text(cursor)) == nil && text(cursor).utf8.count < 32)
        cursor.leave(try channel("c0"))
        #expect(StreamCursor(text(cursor)) != nil)
    }

    @Test("A message is covered by a cursor of its channel's epoch at its offset or beyond")
    func covered() throws {
        let cursor = StreamCursor(.channels([try mark("a", 5), try mark("b", 1)]))
        for (name, offset, epoch, expected) in [
            ("a", 4, 1, true), ("a", 5, 1, true), ("a", 6, 1, false), ("a", 5, 2, false), ("c", 1, 1, false),
        ] as [(String, UInt64, UInt64, Bool)] {
            #expect(StreamMark.channel(try mark(name, offset, epoch: epoch)).isCovered(by: cursor) == expected)
        }
        #expect(!StreamMark.channel(ChannelMark(unknownIn: try channel("a"))).isCovered(by: cursor))
        #expect(!StreamMark.process(epoch: 0, sequence: 0).isCovered(by: cursor))
        #expect(!StreamMark.channel(try mark("a", 1)).isCovered(by: StreamCursor(epoch: 1, sequence: 9)))
        #expect(try cursor.isCovered(by: StreamCursor(.channels([mark("b", 1), mark("a", 5), mark("c", 1)]))))
        #expect(try !cursor.isCovered(by: StreamCursor(.channels([mark("a", 5)]))))
    }

    @Test("The last position of a channel counts, also when offsets begin again")
    func advance() throws {
        var cursor = StreamCursor(.channels([]))
        for mark in [try mark("a", 5), try mark("a", 1, epoch: 2), try mark("b", 1)] {
            cursor.advance(by: .channel(mark))
        }
        #expect(try cursor == StreamCursor(.channels([mark("a", 1, epoch: 2), mark("b", 1)])))
        cursor.leave(try channel("a"))
        #expect(try cursor.mark(of: channel("a")) == nil && cursor.mark(of: channel("b")) != nil)
        cursor.advance(by: StreamCursor(.channels([try mark("b", 3)])))
        #expect(try cursor.mark(of: channel("b"))?.offset == 3)
        cursor.advance(by: .process(epoch: 1, sequence: 2))
        #expect(cursor.sequence(in: 1) == 2 && cursor.sequence(in: 2) == nil)
    }
}
