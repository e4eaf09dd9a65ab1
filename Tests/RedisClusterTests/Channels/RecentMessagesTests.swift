import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Recent messages of a channel")
struct RecentMessagesTests {
    private func recent(_ offsets: ClosedRange<UInt64>, limit: Int = 10, room: Int = 1 << 20) throws -> RecentMessages {
        var recent = RecentMessages()
        for offset in offsets { recent.append(try frame(offset, time: Int64(offset)), limit: limit, room: room) }
        return recent
    }

    private func known(_ offset: UInt64, epoch: UInt64 = 1) -> KnownPoint {
        KnownPoint(
            ChannelPosition(
                offset: offset,
                epoch: ChannelEpoch(epoch),
                id: point(offset, epoch: epoch).id,
                mark: .process(epoch: 0, sequence: 0)
            )
        )
    }

    @Test("Those after a known one are given when all of them are here")
    func after() throws {
        let recent = try recent(3...6)
        #expect(recent.after(known(2), oldest: 0)?.map(\.point.offset) == [3, 4, 5, 6])
        #expect(recent.after(known(5), oldest: 0)?.map(\.point.offset) == [6])
        for offset in [0, 1, 6, 7, .max] as [UInt64] { #expect(recent.after(known(offset), oldest: 0) == nil) }
    }

    @Test("A known message that is not the one before them gets none")
    func otherMessage() throws {
        let recent = try recent(3...6)
        #expect(recent.after(known(4, epoch: 2), oldest: 0) == nil)
        let channel = try #require(ChannelName("c"))
        let id = MessageID(4)
        let mark = ChannelMark(channel, epoch: ChannelEpoch(1), offset: 4, id: id)
        #expect(recent.after(try #require(KnownPoint(mark)), oldest: 0)?.map(\.point.offset) == [5, 6])
        let other = ChannelMark(channel, epoch: ChannelEpoch(1), offset: 4, id: MessageID(.max))
        #expect(recent.after(try #require(KnownPoint(other)), oldest: 0) == nil)
        #expect(KnownPoint(ChannelMark(unknownIn: channel)) == nil)
    }

    @Test("Those that are too old are not given")
    func age() throws {
        let recent = try recent(3...6)
        #expect(recent.after(known(3), oldest: 4)?.count == 3)
        #expect(recent.after(known(3), oldest: 5) == nil)
    }

    @Test("As many are kept as the history has, and as fit")
    func bounds() throws {
        #expect(try recent(1...6, limit: 2).after(known(4), oldest: 0)?.count == 2)
        #expect(try recent(1...6, limit: 2).after(known(3), oldest: 0) == nil)
        let size = RecentMessages.overhead + 1
        #expect(try recent(1...6, room: 3 * size).bytes == 3 * size)
        #expect(try recent(1...6, room: 0).bytes == 0)
    }

    @Test("A message that does not follow drops the others")
    func hole() throws {
        var recent = try recent(1...3)
        recent.append(try frame(5), limit: 10, room: 1 << 20)
        #expect(recent.after(known(2), oldest: 0) == nil && recent.bytes == RecentMessages.overhead + 1)
    }
}
