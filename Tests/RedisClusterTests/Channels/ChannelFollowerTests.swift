import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

/// A point of epoch 1; its id is its offset.
func point(_ offset: UInt64, epoch: UInt64 = 1) -> ChannelPoint {
    ChannelPoint(epoch: ChannelEpoch(epoch), offset: offset, id: MessageID(offset &+ 100 * epoch))
}

/// The message there, which follows the one before.
func frame(_ offset: UInt64, epoch: UInt64 = 1, time: Int64 = 0) throws -> MessageFrame {
    let (here, before) = (point(offset, epoch: epoch), point(offset &- 1, epoch: epoch))
    var text = ByteBuffer(
        string: "1 \(here.epoch) \(offset) \(here.id) \(offset == 1 ? MessageID(0) : before.id) \(time)\n"
    )
    var body = MessageBody.write(
        ChannelEnvelope(
            Publication(
                channel: try #require(ChannelName("c")),
                format: .text,
                payload: ByteBuffer(string: "\(offset)")
            )
        ),
        origin: "n"
    )
    text.writeBuffer(&body)
    return try MessageFrame(text)
}

func answer(
    _ continuity: FollowAnswer.Continuity,
    _ head: ChannelPoint,
    _ messages: [MessageFrame] = []
) -> FollowAnswer {
    FollowAnswer(isFirst: false, continuity: continuity, head: head, messages: messages)
}

@Suite("Following a channel")
struct ChannelFollowerTests {
    private func live(at offset: UInt64) -> ChannelFollower {
        var follower = ChannelFollower(isDelayed: false)
        #expect(follower.subscribed() == .ask(after: nil))
        #expect(follower.answered(answer(.none, point(offset))) == .init())
        #expect(follower.point == point(offset))
        return follower
    }

    @Test("A new subscription begins at the last message, and misses nothing")
    func begins() throws {
        var follower = ChannelFollower(isDelayed: false)
        #expect(follower.subscribed() == .ask(after: nil))
        #expect(try follower.received(frame(4)) == .nothing)
        let outcome = follower.answered(answer(.none, point(4)))
        #expect(try outcome == .init(messages: [frame(4)]))
        #expect(try follower.received(frame(5)) == .deliver(frame(5)))
    }

    @Test("A subscription that had to wait for the engine tells that messages may be missing")
    func delayed() {
        var follower = ChannelFollower(isDelayed: true)
        #expect(follower.subscribed() == .ask(after: nil))
        #expect(follower.answered(answer(.none, point(4))) == .init(lost: .engineAway, hasResumed: true))
    }

    @Test("Messages that follow each other are passed on")
    func chain() throws {
        var follower = live(at: 3)
        for offset in UInt64(4)...6 { #expect(try follower.received(frame(offset)) == .deliver(frame(offset))) }
        #expect(follower.point == point(6))
    }

    @Test("A message that does not follow leads to a question, and the history fills the hole")
    func hole() throws {
        var follower = live(at: 3)
        #expect(try follower.received(frame(5)) == .ask(after: point(3)))
        #expect(try follower.received(frame(6)) == .nothing)
        let outcome = try follower.answered(answer(.all, point(6), [frame(4), frame(5), frame(6)]))
        #expect(try outcome == .init(messages: [frame(4), frame(5), frame(6)]))
        #expect(follower.point == point(6))
    }

    @Test("What is not in the history is told as lost, before the messages that came")
    func lost() throws {
        var follower = live(at: 3)
        _ = try follower.received(frame(5))
        #expect(try follower.answered(answer(.gap, point(5))) == .init(lost: .messageMissing, messages: [frame(5)]))
        #expect(try follower.received(frame(6)) == .deliver(frame(6)))
    }

    @Test("An offset that goes back, or has come to mean another message, leads to a question", arguments: [1, 2, 3])
    func backwards(offset: UInt64) throws {
        var follower = live(at: 3)
        #expect(try follower.received(frame(offset)) == .ask(after: point(3)))
        let outcome = follower.answered(answer(.gap, point(9, epoch: 2)))
        #expect(outcome == .init(lost: .engineLostMessages))
        #expect(try follower.received(frame(10, epoch: 2)) == .deliver(frame(10, epoch: 2)))
    }

    @Test("Messages of a new epoch are passed on after the loss is told; those of the old one are not")
    func newEpoch() throws {
        var follower = live(at: 3)
        #expect(try follower.received(frame(1, epoch: 2)) == .ask(after: point(3)))
        _ = try follower.received(frame(2, epoch: 2))
        let outcome = follower.answered(answer(.gap, point(2, epoch: 2)))
        #expect(try outcome == .init(lost: .engineLostMessages, messages: [frame(1, epoch: 2), frame(2, epoch: 2)]))
    }

    @Test("After an interruption it asks for what was published meanwhile")
    func interruption() throws {
        var follower = live(at: 3)
        let (first, second) = (follower.interrupted(), follower.interrupted())
        #expect(first && !second && follower.point == nil)
        #expect(try follower.received(frame(4)) == .nothing)
        #expect(follower.subscribed() == .ask(after: point(3)))
        let outcome = try follower.answered(answer(.all, point(5), [frame(4), frame(5)]))
        #expect(try outcome == .init(messages: [frame(4), frame(5)], hasResumed: true))
    }

    @Test("What the engine has lost during an interruption is not put down to the connection")
    func emptied() {
        var follower = live(at: 3)
        _ = follower.interrupted()
        #expect(follower.subscribed() == .ask(after: point(3)))
        #expect(
            follower.answered(answer(.gap, point(1, epoch: 2))) == .init(lost: .engineLostMessages, hasResumed: true)
        )
        _ = follower.interrupted()
        _ = follower.subscribed()
        #expect(follower.answered(answer(.gap, point(9, epoch: 2))) == .init(lost: .connectionLost, hasResumed: true))
    }

    @Test("An interruption during a question repeats it, and keeps what is known")
    func interruptedQuestion() throws {
        var follower = live(at: 3)
        _ = try follower.received(frame(5))
        _ = follower.interrupted()
        #expect(follower.answered(answer(.all, point(9))) == .init())
        #expect(follower.point == nil)
        #expect(follower.subscribed() == .ask(after: point(3)))
        #expect(follower.answered(answer(.gap, point(9))) == .init(lost: .messageMissing, hasResumed: true))
    }

    @Test("More than fits into one answer is asked for in parts, without a loss")
    func parts() throws {
        var follower = live(at: 3)
        _ = follower.suspect()
        #expect(
            try follower.answered(answer(.part, point(6), [frame(4), frame(5)]))
                == .init(messages: [frame(4), frame(5)], asksAgain: point(5))
        )
        #expect(follower.point == nil)
        #expect(try follower.answered(answer(.all, point(6), [frame(6)])) == .init(messages: [frame(6)]))
        #expect(follower.point == point(6))
    }

    @Test("A suspicion that proves wrong changes nothing")
    func suspicion() {
        var follower = live(at: 3)
        #expect(follower.suspect() == .ask(after: point(3)))
        #expect(follower.suspect() == .nothing)
        #expect(follower.answered(answer(.all, point(3))) == .init())
        #expect(follower.point == point(3))
    }

    @Test("What is held back during a question is bounded, and what has no room is told as lost")
    func bounded() throws {
        var follower = ChannelFollower(isDelayed: false)
        _ = follower.subscribed()
        for offset in 1...UInt64(ChannelFollower.mostHeld) + 1 { _ = try follower.received(frame(offset)) }
        let outcome = follower.answered(answer(.none, point(UInt64(ChannelFollower.mostHeld) + 1)))
        #expect(outcome.lost == .tooManyHeld)
        #expect(outcome.messages.map(\.point.offset) == [UInt64(ChannelFollower.mostHeld) + 1])
    }
}
