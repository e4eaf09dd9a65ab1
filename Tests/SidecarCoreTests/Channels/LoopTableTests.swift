import Testing

@testable import SidecarCore

@Suite("Which loops have subscribers")
struct LoopTableTests {
    private let room: ChannelName

    init() throws { room = try #require(ChannelName("room")) }

    @Test("A loop is in it from its first subscriber to its last, and the first and the last of all are noticed")
    func loops() {
        var table = LoopTable()
        #expect(table.loops(of: room).isEmpty && table.connections(in: room) == 0)
        let first = table.joined(room, onLoop: 0)
        let second = table.joined(room, onLoop: 0)
        let third = table.joined(room, onLoop: 2)
        #expect(first && !second && !third && table.connections(in: room) == 3)
        var loops = table.loops(of: room)
        #expect(loops.contains(0) && !loops.contains(1) && loops.contains(2))
        let one = table.left(room, onLoop: 0, isLastOfLoop: false)
        #expect(!one && table.loops(of: room).contains(0))
        let two = table.left(room, onLoop: 0, isLastOfLoop: true)
        loops = table.loops(of: room)
        #expect(!two && !loops.contains(0) && loops.contains(2))
        let last = table.left(room, onLoop: 2, isLastOfLoop: true)
        #expect(last && table.loops(of: room).isEmpty && table.connections(in: room) == 0)
        let again = table.joined(room, onLoop: 1)
        #expect(again)
    }

    @Test("More loops than bits share one, and none of them misses anything")
    func manyLoops() {
        var table = LoopTable()
        for loop in [62, 63, 64, 200] { _ = table.joined(room, onLoop: loop) }
        _ = table.left(room, onLoop: 63, isLastOfLoop: true)
        _ = table.left(room, onLoop: 62, isLastOfLoop: true)
        #expect(table.loops(of: room).contains(64) && table.loops(of: room).contains(200))
        #expect(!table.loops(of: room).contains(62))
        _ = table.left(room, onLoop: 64, isLastOfLoop: true)
        let last = table.left(room, onLoop: 200, isLastOfLoop: true)
        #expect(last && table.loops(of: room).isEmpty)
    }
}
