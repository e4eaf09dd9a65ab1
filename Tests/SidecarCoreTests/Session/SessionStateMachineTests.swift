import NIOCore
import Testing

@testable import SidecarCore

@Suite("Session state machine")
struct SessionStateMachineTests {
    /// Plays a script of `event: action`.
    @discardableResult
    private func play(
        maxBatch: Int = 1,
        _ script: KeyValuePairs<SessionInput, String>,
        _ location: SourceLocation = #_sourceLocation
    ) -> SessionStateMachine {
        var machine = SessionStateMachine(maxBatch: maxBatch)
        for (line, (input, expected)) in script.enumerated() {
            let action = machine.perform(input)
            #expect(action == expected, "line \(line + 1), \(input)", sourceLocation: location)
        }
        return machine
    }

    @Test("Events go out one at a time and in order, open first and close last")
    func order() {
        let machine = play([
            .begin: "1 open",
            .accepted(atMillisecond: 100): "wait",
            .text("a"): "2 text a",
            .text("b"): "wait",
            .binary(3): "wait",
            .answered: "3 text b",
            .sent: "-",
            .answered: "4 binary 3",
            .answered: "wait",
            .text("c"): "5 text c",
            .ended(1000, "bye", .client, atMillisecond: 350): "wait",
            .answered: "6 close 1000 [bye] client in 4 out 1 ms 250",
            .answered: "finish",
            .answered: "wait",
        ])
        #expect(machine.pendingBytes == 0 && machine.hasEnded && !machine.isRunning && machine.isQuiet)
    }

    @Test("Messages that wait at the end of the connection are delivered before the close event")
    func endAfterMessages() {
        play([
            .begin: "1 open",
            .accepted(atMillisecond: 0): "wait",
            .text("a"): "2 text a",
            .text("b"): "wait",
            .ended(1006, "", .network, atMillisecond: 1): "wait",
            .text("late"): "wait",
            .answered: "3 text b",
            .sent: "-",
            .answered: "4 close 1006 [] network in 2 out 1 ms 1",
            .answered: "finish",
        ])
    }

    @Test("A session that ends while nothing is in flight tells so at once")
    func endAtRest() {
        play([
            .begin: "1 open",
            .accepted(atMillisecond: 5): "wait",
            .ended(1001, "going away", .server, atMillisecond: 5): "2 close 1001 [going away] server in 0 out 0 ms 0",
            .answered: "finish",
        ])
    }

    @Test("A session that the app refused has no close event")
    func refused() {
        let machine = play([
            .begin: "1 open",
            .refused: "-",
            .ended(1006, "", .network, atMillisecond: 1): "wait",
            .text("a"): "wait",
            .answered: "wait",
            .accepted(atMillisecond: 2): "wait",
            .begin: "wait",
        ])
        #expect(machine.hasEnded && !machine.isRunning && machine.isQuiet && machine.messagesIn == 0)
    }

    @Test("A client that vanished while the app accepted it has a close event, and was never running")
    func vanishedWhileOpening() {
        let machine = play([
            .begin: "1 open",
            .ended(1006, "", .network, atMillisecond: 1): "wait",
            .accepted(atMillisecond: 2): "2 close 1006 [] network in 0 out 0 ms 0",
            .text("a"): "wait",
            .answered: "finish",
        ])
        #expect(!machine.isRunning)
    }

    @Test("A client that vanished while the app refused it has no close event")
    func vanishedThenRefused() {
        play([
            .begin: "1 open",
            .ended(1006, "", .network, atMillisecond: 1): "wait",
            .refused: "-",
            .answered: "wait",
        ])
    }

    @Test("Only the first end counts")
    func endedTwice() {
        play([
            .begin: "1 open",
            .accepted(atMillisecond: 0): "wait",
            .text("a"): "2 text a",
            .ended(4000, "first", .server, atMillisecond: 10): "wait",
            .ended(1006, "second", .network, atMillisecond: 20): "wait",
            .answered: "3 close 4000 [first] server in 1 out 0 ms 10",
            .ended(1006, "third", .network, atMillisecond: 30): "wait",
            .answered: "finish",
            .ended(1006, "fourth", .network, atMillisecond: 40): "wait",
        ])
    }

    @Test("What does not belong to the moment changes nothing")
    func outOfPlace() {
        play([
            .answered: "wait",
            .accepted(atMillisecond: 0): "wait",
            .text("early"): "wait",
            .begin: "1 open",
            .begin: "wait",
            .answered: "wait",
            .text("early"): "wait",
            .accepted(atMillisecond: 0): "wait",
            .accepted(atMillisecond: 9): "wait",
            .refused: "-",
            .begin: "wait",
            .answered: "wait",
            .ended(1000, "", .client, atMillisecond: 7): "2 close 1000 [] client in 0 out 0 ms 7",
            .answered: "finish",
        ])
    }

    @Test("A queue that is dropped gives its bytes back, and keeps the message in flight")
    func discard() {
        let machine = play([
            .begin: "1 open",
            .accepted(atMillisecond: 0): "wait",
            .text("a"): "2 text a",
            .text("b"): "wait",
            .text("c"): "wait",
            .discard: "dropped 2",
            .discard: "dropped 0",
            .ended(1011, "", .server, atMillisecond: 0): "wait",
        ])
        #expect(machine.pendingBytes == 1 + SessionStateMachine.messageOverhead)
        #expect(machine.queuedMessages == 0 && !machine.isQuiet)
    }

    @Test("Each message costs its payload and a fixed part until it is answered, an empty one too")
    func pendingBytes() {
        let overhead = SessionStateMachine.messageOverhead
        var machine = SessionStateMachine()
        _ = machine.begin()
        _ = machine.accepted(at: .at(0))
        var seen: [Int] = []
        for count in [0, 1, 1000] {
            _ = machine.perform(.binary(count))
            seen.append(machine.pendingBytes)
        }
        for _ in 0..<3 {
            _ = machine.answered()
            seen.append(machine.pendingBytes)
        }
        #expect(
            seen == [overhead, 1 + 2 * overhead, 1001 + 3 * overhead, 1001 + 2 * overhead, 1000 + overhead, 0]
        )
    }

    @Test("The age counts from the accepted handshake, and a clock that stands still or is behind gives no negative")
    func age() {
        var machine = SessionStateMachine()
        #expect(machine.age(at: .at(50)) == .zero)
        _ = machine.begin()
        _ = machine.accepted(at: .at(100))
        #expect(machine.age(at: .at(100)) == .zero)
        #expect(machine.age(at: .at(101)) == .milliseconds(1))
        #expect(
            machine.perform(.ended(1000, "", .client, atMillisecond: 40)) == "2 close 1000 [] client in 0 out 0 ms 0"
        )
    }

    @Test("What has queued behind an event goes out together, at most so many, and each has its own sequence")
    func batches() {
        let machine = play(
            maxBatch: 3,
            [
                .begin: "1 open",
                .accepted(atMillisecond: 0): "wait",
                .text("a"): "2 text a",
                .text("b"): "wait",
                .binary(1): "wait",
                .text("c"): "wait",
                .text("d"): "wait",
                .answered: "3 text b, binary 1, text c",
                .text("e"): "wait",
                .ended(1006, "", .network, atMillisecond: 1): "wait",
                .answered: "6 text d, text e",
                .answered: "8 close 1006 [] network in 6 out 0 ms 1",
                .answered: "finish",
            ]
        )
        #expect(machine.pendingBytes == 0)
    }

    @Test("What is discarded behind a batch leaves the batch as it is, and no gap")
    func discardBehindBatch() {
        let overhead = SessionStateMachine.messageOverhead
        let machine = play(
            maxBatch: 2,
            [
                .begin: "1 open",
                .accepted(atMillisecond: 0): "wait",
                .text("a"): "2 text a",
                .text("b"): "wait",
                .text("c"): "wait",
                .text("d"): "wait",
                .answered: "3 text b, text c",
                .discard: "dropped 1",
                .ended(1011, "", .server, atMillisecond: 1): "wait",
            ]
        )
        #expect(machine.pendingBytes == 2 * (1 + overhead))
    }

    @Test("The app is asked again behind the messages that wait, and not twice at once")
    func revalidation() {
        let machine = play(
            maxBatch: 8,
            [
                .begin: "1 open",
                .revalidate: "wait",
                .accepted(atMillisecond: 0): "wait",
                .revalidate: "2 revalidate",
                .text("a"): "wait",
                .text("b"): "wait",
                .revalidate: "wait",
                .revalidate: "wait",
                .text("c"): "wait",
                .answered: "3 text a, text b",
                .answered: "5 revalidate",
                .answered: "6 text c",
                .revalidate: "wait",
                .ended(1000, "", .client, atMillisecond: 1): "wait",
                .answered: "7 revalidate",
                .answered: "8 close 1000 [] client in 3 out 0 ms 1",
                .answered: "finish",
            ]
        )
        #expect(machine.pendingBytes == 0)
    }

    @Test("An absence that is over before its turn is not told, so that comings and goings do not pile up")
    func absences() {
        var machine = play([
            .begin: "1 open",
            .accepted(atMillisecond: 0): "wait",
            .lost: "2 detached",
            .returned: "wait",
            .answered: "3 resumed",
            .answered: "wait",
            .text("a"): "4 text a",
            .lost: "wait",
            .text("b"): "wait",
            .returned: "wait",
        ])
        let waiting = machine.queuedSequences
        for _ in 0..<1000 {
            #expect(machine.perform(.lost) == "wait")
            #expect(machine.perform(.returned) == "wait")
        }
        #expect(machine.queuedSequences == waiting)
        #expect(machine.perform(.answered) == "5 detached")
        #expect(machine.perform(.answered) == "6 text b")
        #expect(machine.perform(.answered) == "7 resumed")
        #expect(machine.perform(.answered) == "wait")
    }

    @Test("A question that waits when the client leaves is still asked: what came behind it has its number already")
    func revalidationAtTheEnd() {
        play([
            .begin: "1 open",
            .accepted(atMillisecond: 0): "wait",
            .text("a"): "2 text a",
            .revalidate: "wait",
            .text("b"): "wait",
            .ended(1006, "", .network, atMillisecond: 1): "wait",
            .answered: "3 revalidate",
            .answered: "4 text b",
            .answered: "5 close 1006 [] network in 2 out 0 ms 1",
            .answered: "finish",
        ])
    }

    @Test("The sequence of the next message counts a question that waits ahead of it")
    func nextSequence() {
        var machine = SessionStateMachine()
        for input in [SessionInput.begin, .accepted(atMillisecond: 0), .text("a"), .text("b"), .revalidate] {
            _ = machine.perform(input)
        }
        #expect(machine.nextSequence == 5)
        let next = machine.nextSequence
        for step in [SessionInput.text("c"), .answered, .answered] { _ = machine.perform(step) }
        #expect(machine.perform(.answered) == "\(next) text c")
    }
}
