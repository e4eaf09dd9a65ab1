import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// The stream has everything up to position 1; its positions are single digits.
@Suite("An event stream that waits for its replay")
struct DelayedReplayTests {
    @Test("What is published meanwhile comes behind the replay, each once", arguments: [false, true])
    func order(hasReachedLoop: Bool) throws {
        let stream = try StreamFixture()
        #expect(stream.broker.takeCalls() == ["subscribe room", "replay room since 1"])
        for sequence in UInt64(3)...5 { stream.receive("live", at: sequence) }
        if hasReachedLoop {
            let early = try stream.received()
            #expect(early.isEmpty)
        }
        stream.broker.answer(2...4)
        let received = try stream.received()
        #expect(received == ["2 x", "3 x", "4 x", "4", "5 live"])
        stream.receive("live", at: 4)
        stream.receive("live", at: 6)
        let later = try stream.received()
        #expect(later == ["6 live"])
        #expect(stream.heldBytes == 0)
    }

    @Test("So does what is sent to it alone, in its place")
    func direct() throws {
        let stream = try StreamFixture()
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        stream.send("direct")
        stream.receive("live", at: 4)
        let early = try stream.received()
        #expect(early.isEmpty)
        stream.broker.answer(2...2)
        let received = try stream.received()
        #expect(received == ["2 x", "2", "3 live", "direct", "4 live"])
    }

    @Test("An incomplete replay begins with a reset")
    func incomplete() throws {
        let stream = try StreamFixture()
        stream.receive("live", at: 6)
        stream.broker.answer(4...5, isComplete: false)
        let received = try stream.received()
        #expect(received == ["reset", "4 x", "5 x", "5", "6 live"])
    }

    @Test("A failure is a reset, and what is published goes on from there")
    func failure() throws {
        let stream = try StreamFixture()
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        stream.broker.answer(.failure(.unavailable("a test")))
        stream.receive("live", at: 4)
        let received = try stream.received()
        #expect(received == ["reset", "3 live", "4 live"])
    }

    // MARK: Too much

    private let large = String(repeating: "y", count: 1_000)

    /// Room for five large messages at most.
    private func fullStream() throws -> StreamFixture {
        let stream = try StreamFixture(["MAX_SEND_BUFFER_BYTES": "8192"])
        for sequence in UInt64(3)...9 { stream.receive(large, at: sequence) }
        let early = try stream.received()
        #expect(early.isEmpty)
        #expect((1...8_192).contains(stream.heldBytes))
        return stream
    }

    @Test("Without room for all of it the stream gets a reset and the newest")
    func overflow() throws {
        let stream = try fullStream()
        stream.broker.answer(2...2)
        let received = try stream.received()
        #expect(received.prefix(3) == ["reset", "2 x", "2"])
        let live = received.dropFirst(3)
        #expect((1...5).contains(live.count) && live.last == "9 yyyyyyyy")
        #expect(stream.rig.client.isActive && stream.heldBytes == 0)
    }

    @Test("What had no room is counted, unless the replay contains it", arguments: [nil, 2, 8, 9] as [UInt64?])
    func counted(replayedUpTo: UInt64?) throws {
        let stream = try StreamFixture()
        let pending = PendingReplay(room: 2_048, buffers: stream.rig.shard.clients.sendBuffers) { _ in }
        let text = ByteBuffer(string: large)
        for sequence in UInt64(3)...9 {
            let mark = StreamMark.process(epoch: 1, sequence: sequence)
            _ = pending.hold(PendingReplay.Event(text: text, mark: mark, channel: nil, action: nil))
        }
        let lost = pending.lostPublications(after: replayedUpTo.map { StreamCursor(epoch: 1, sequence: $0) })
        #expect(lost == ((replayedUpTo ?? 0) < 8 ? 6 : 0))
        #expect(pending.end().map(\.mark) == [.process(epoch: 1, sequence: 9)])
    }

    @Test("What had no room but is in the replay is not lost")
    func overflowReplayed() throws {
        let stream = try fullStream()
        stream.broker.answer(2...9)
        let received = try stream.received()
        #expect(received == (2...9).map { "\($0) x" } + ["9"])
    }

    @Test("The replay gets the room that is left")
    func shared() throws {
        let stream = try StreamFixture(["MAX_SEND_BUFFER_BYTES": "8192"])
        for sequence in UInt64(7)...9 { stream.receive(large, at: sequence) }
        stream.rig.loop.run()
        stream.broker.answer(2...6, bytes: 1_000)
        let received = try stream.received()
        #expect(received.first == "reset")
        let all = (2...6).map { "\($0) xxxxxxxx" } + ["6"] + (7...9).map { "\($0) yyyyyyyy" }
        let rest = Array(received.dropFirst())
        #expect(rest == Array(all.suffix(rest.count)) && (5..<all.count).contains(rest.count))
        #expect(stream.rig.client.isActive)
    }

    @Test("A message to it alone that is too large for the rest may wait alone")
    func single() throws {
        let stream = try StreamFixture(["MAX_SEND_BUFFER_BYTES": "8192"])
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        stream.send(String(repeating: "z", count: 10_000))
        stream.send("dropped")
        stream.broker.answer(2...2)
        let received = try stream.received()
        #expect(received == ["reset", "2", "zzzzzzzz"])
    }

    // MARK: The end

    @Test("A client that leaves before the answer leaves nothing behind")
    func leaves() throws {
        let stream = try StreamFixture()
        _ = stream.broker.takeCalls()
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        #expect(stream.heldBytes > 0)
        stream.rig.client.close(promise: nil)
        stream.rig.loop.run()
        #expect(stream.heldBytes == 0)
        #expect(stream.broker.takeCalls() == ["unsubscribe room"])
        stream.broker.answer(2...3)
        let received = try stream.received()
        #expect(received.isEmpty)
    }

    @Test("Closed before the answer, it gets what no replay would bring")
    func closed() throws {
        let stream = try StreamFixture()
        stream.receive("live", at: 3)
        stream.rig.loop.run()
        stream.send("direct")
        for session in stream.rig.shard.sessions.all { session.close(code: .policyViolation, reason: "a test") }
        stream.broker.answer(2...3)
        let received = try stream.received()
        #expect(received == ["direct"] && stream.heldBytes == 0)
    }

    @Test("A publication that waits for the kernel waits for the replay too", arguments: [false, true])
    func receipt(leaves: Bool) async throws {
        let message = PreparedMessage(.text, ByteBuffer(string: "live"))
        let tally = PublicationTally(of: message, waitsForKernel: true)
        try play(tally, leaves: leaves)
        let (_, counts) = await tally.result()
        #expect([counts.matched, counts.queued, counts.dropped] == (leaves ? [1, 0, 1] : [1, 1, 0]))
    }

    /// All that touches the embedded loop, on one thread.
    private func play(_ tally: PublicationTally, leaves: Bool) throws {
        let stream = try StreamFixture()
        stream.receive("live", at: 3, context: tally)
        tally.published(.failure(.unknownChannel))
        stream.rig.loop.run()
        if leaves {
            stream.rig.client.close(promise: nil)
        } else {
            stream.broker.answer(2...2)
        }
        stream.rig.loop.run()
    }
}
