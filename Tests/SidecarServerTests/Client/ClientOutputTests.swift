import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// Each text of 100 bytes costs 356 while it waits.
@Suite("What goes out to one client")
struct ClientOutputTests {
    private static func text(_ mark: Character) -> String { String(repeating: mark, count: 100) }
    private static let cost = 100 + SendQueue.messageOverhead

    private let a = text("a")
    private let b = text("b")
    private let c = text("c")

    // MARK: Without back-pressure

    @Test("A client that reads gets all in order and holds nothing")
    func inOrder() throws {
        let client = try OutputFixture(maxBytes: 1)
        for text in [a, b, c] {
            let isSent = client.send(text)
            #expect(isSent)
        }
        let received = try client.received()
        #expect(received.joined() == a + b + c)
        #expect(client.output.unsentBytes == 0)
        #expect(client.budget.held == 0)
        #expect(client.records.isEmpty)
    }

    @Test("What is composed and what stands beside its header goes out like the rest")
    func forms() throws {
        let client = try OutputFixture()
        client.output.send { $0.writeString("1") }
        client.output.send(SendQueue.Message(header: ByteBuffer(string: "2"), payload: ByteBuffer(string: "3")))
        client.output.sendAtOnce(ByteBuffer(string: "4"))
        let received = try client.received()
        #expect(received.joined() == "1234")
    }

    // MARK: What may wait

    @Test(
        "A message may wait while all that waits is within the limit",
        arguments: [(-1, false), (0, true), (1, true)]
    )
    func limit(beside: Int, fits: Bool) throws {
        let client = try OutputFixture(maxBytes: 2 * Self.cost + beside, .dropNewest)
        client.stopReading()
        let first = client.send(a)
        let second = client.send(b)
        #expect(first)
        #expect(second == fits)
        #expect(client.output.unsentBytes == (fits ? 2 : 1) * Self.cost)
        #expect(client.budget.held == client.output.unsentBytes)
        client.readOn()
        let received = try client.received()
        #expect(received == (fits ? [a, b] : [a]))
        #expect(client.budget.held == 0)
    }

    @Test("One message may always wait, however large it is")
    func oneMessage() throws {
        let client = try OutputFixture(maxBytes: 0)
        client.stopReading()
        let isQueued = client.send(a)
        #expect(isQueued)
        #expect(client.timesTooSlow == 0)
    }

    @Test("Once the process holds too much, a client may hold its share and no more", arguments: [-1, 0, 1])
    func share(beside: Int) throws {
        let client = try OutputFixture(.dropNewest, total: 2 * Self.cost + beside)
        client.stopReading()
        let first = client.send(a)
        let second = client.send(b)
        #expect(first)
        #expect(second == (beside >= 0))
    }

    // MARK: What is done about more

    @Test("close: the client is closed, and nothing is kept for it")
    func closes() throws {
        let client = try OutputFixture(maxBytes: 2 * Self.cost - 1, .close)
        client.stopReading()
        let first = client.send(a)
        let second = client.send(b)
        #expect(first && !second)
        #expect(client.timesTooSlow == 1)
        #expect(client.output.isTooSlow)
        #expect(client.records == [.init(kind: .sendBuffer, action: .close)])
        #expect(client.output.unsentBytes == 0)
        #expect(client.budget.held == 0)
    }

    @Test("drop-newest: the message is left out")
    func dropsNewest() throws {
        let client = try OutputFixture(maxBytes: 2 * Self.cost, .dropNewest)
        client.stopReading()
        let sent = [a, b, c].map { client.send($0) }
        #expect(sent == [true, true, false])
        #expect(client.records == [.init(kind: .sendBuffer, action: .dropNewest)])
        #expect(client.timesTooSlow == 0 && !client.output.isTooSlow)
        client.readOn()
        let received = try client.received()
        #expect(received == [a, b])
    }

    @Test("drop-oldest: the message that waits longest makes room")
    func dropsOldest() throws {
        let client = try OutputFixture(maxBytes: 2 * Self.cost, .dropOldest)
        client.stopReading()
        let sent = [a, b, c].map { client.send($0) }
        #expect(sent == [true, true, true])
        #expect(client.records == [.init(kind: .sendBuffer, action: .dropOldest)])
        client.readOn()
        let received = try client.received()
        #expect(received == [b, c])
    }

    @Test("latest: of a channel only the newest waits, whatever the limit")
    func keepsLatest() throws {
        let room = try #require(ChannelName("room"))
        let other = try #require(ChannelName("other"))
        let client = try OutputFixture(.close)
        client.stopReading()
        let first = client.send(a, to: room, .latest)
        let second = client.send(b, to: other, .latest)
        let third = client.send(c, to: room, .latest)
        #expect(first && second && third)
        #expect(client.records == [.init(kind: .sendBuffer, action: .latest)])
        #expect(client.output.unsentBytes == 2 * Self.cost)
        client.readOn()
        let received = try client.received()
        #expect(received == [b, c])
    }

    @Test("A channel's action goes before the setting's")
    func channelsAction() throws {
        let room = try #require(ChannelName("room"))
        let client = try OutputFixture(maxBytes: Self.cost, .close)
        client.stopReading()
        let first = client.send(a)
        let second = client.send(b, to: room, .dropNewest)
        #expect(first && !second)
        #expect(client.timesTooSlow == 0)
    }

    @Test("What has begun to go out counts, and is never dropped")
    func begun() throws {
        let client = try OutputFixture(maxBytes: 2 * Self.cost, .dropOldest)
        client.stopReading()
        client.output.sendAtOnce(ByteBuffer(string: a))
        client.output.flush()
        #expect(client.output.unsentBytes == 100)
        let second = client.send(b)
        let third = client.send(c)
        #expect(second && third)
        #expect(client.output.unsentBytes == 100 + Self.cost)
        client.readOn()
        let received = try client.received()
        #expect(received == [a, c])
    }

    // MARK: Too much over the process

    @Test(
        "Who holds more than its share sheds whole messages down to it",
        arguments: [(-1, 1), (0, 2), (1, 2)],
        [SlowClientAction.dropOldest, .dropNewest, .latest]
    )
    func sheds(share: (beside: Int, left: Int), action: SlowClientAction) throws {
        let client = try OutputFixture(action)
        client.stopReading()
        let sent = [a, b, c].map { client.send($0) }
        #expect(sent == [true, true, true])
        client.output.shed(beyond: 2 * Self.cost + share.beside)
        #expect(client.output.unsentBytes == share.left * Self.cost)
        #expect(client.budget.held == share.left * Self.cost)
        #expect(client.records == [.init(kind: .totalSendBuffer, action: nil)])
        #expect(client.timesTooSlow == 0)
        client.readOn()
        let received = try client.received()
        let kept = action == .dropNewest ? [a, b, c].prefix(share.left) : [a, b, c].suffix(share.left)
        #expect(received == Array(kept))
    }

    @Test("With close, or with too much begun, it is cut off", arguments: [SlowClientAction.close, .dropOldest])
    func cutsOff(action: SlowClientAction) throws {
        let client = try OutputFixture(action)
        client.stopReading()
        client.output.sendAtOnce(ByteBuffer(string: a))
        client.output.flush()
        let isQueued = client.send(b)
        #expect(isQueued)
        client.output.shed(beyond: action == .close ? 100 + Self.cost - 1 : 99)
        #expect(client.timesTooSlow == 1)
        #expect(!client.channel.isActive && !client.output.isAttached)
        #expect(client.budget.held == 0)
    }

    @Test("Who has said goodbye and still holds too much is cut off without another word")
    func cutsOffAfterTheEnd() throws {
        let client = try OutputFixture(.dropOldest)
        client.stopReading()
        let isQueued = client.send(a)
        #expect(isQueued)
        client.output.finish()
        client.output.shed(beyond: 1_000_000)
        #expect(client.timesTooSlow == 0)
        #expect(!client.output.isAttached)
    }

    // MARK: The end

    @Test("At the end all that waits goes out before the goodbye")
    func finishes() throws {
        let client = try OutputFixture()
        client.stopReading()
        let sent = [a, b].map { client.send($0) }
        #expect(sent == [true, true])
        client.output.finish()
        client.output.sendAtOnce(ByteBuffer(string: "goodbye"))
        client.output.flush()
        client.readOn()
        let received = try client.received()
        #expect(received == [a, b, "goodbye"])
    }

    @Test("A client that is gone holds nothing")
    func gone() throws {
        let client = try OutputFixture()
        client.stopReading()
        let isQueued = client.send(a)
        #expect(isQueued)
        client.output.connectionLost()
        #expect(client.output.unsentBytes == 0)
        #expect(client.budget.held == 0)
        client.output.sendAtOnce(ByteBuffer(string: b))
        #expect(client.output.unsentBytes == 0)
    }
}
