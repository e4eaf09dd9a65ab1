import NIOCore
import TestSupport
import Testing

@testable import SidecarCore

/// Plays random events, sensible or not, and keeps the books that the machine must agree with.
private struct SessionLedger {
    var machine: SessionStateMachine
    var faults: [String] = []
    private let maxBatch: Int
    private(set) var isAccepted = false
    private(set) var closes = 0
    private(set) var isFinished = false
    private var sequence: UInt64 = 0
    private var inFlight: SessionEvent?
    private var waiting: [ByteBuffer] = []
    private var hasEnded = false
    private var isRefused = false
    private var number = 0

    init(maxBatch: Int) {
        machine = SessionStateMachine(maxBatch: maxBatch)
        self.maxBatch = maxBatch
    }

    mutating func play(_ choice: Int, size: Int, at millisecond: Int64) {
        let now = NIODeadline.at(millisecond)
        switch choice {
        case 0: note(machine.begin())
        case 1:
            if inFlight == .open, sequence == 1, !isRefused, !isAccepted {
                isAccepted = true
                inFlight = nil
            }
            note(machine.accepted(at: now))
        case 2 where sequence < 2 && !isAccepted && !isRefused:
            isRefused = true
            inFlight = nil
            machine.refused()
        case 2: machine.refused()
        case 3...5: receive(size: size)
        case 6...8:
            // The answer to `open` is told with `accepted` or `refused`.
            if inFlight != .open { inFlight = nil }
            note(machine.answered())
        case 11: note(machine.revalidate())
        case 9:
            hasEnded = true
            note(machine.ended(code: .normal, reason: "", initiator: .client, at: now))
        default:
            if machine.discardQueue() != waiting.count { faults.append("the queue had another length") }
            waiting = []
        }
        check()
    }

    private mutating func receive(size: Int) {
        number += 1
        var payload = ByteBuffer(integer: UInt32(truncatingIfNeeded: number))
        payload.writeRepeatingByte(0, count: size)
        if machine.isRunning { waiting.append(payload) }
        note(machine.received(.binary, payload))
    }

    private mutating func note(_ step: SessionStateMachine.Step) {
        switch step {
        case .wait: break
        case .finish:
            if isFinished || closes != 1 || inFlight != nil { faults.append("finished in the wrong moment") }
            isFinished = true
        case .deliver(let delivery):
            if delivery.sequence != sequence + 1 { faults.append("a gap before \(delivery.sequence)") }
            sequence = delivery.sequences.upperBound
            if inFlight != nil { faults.append("two events in flight at \(sequence)") }
            if closes > 0 || isRefused { faults.append("an event after the last at \(sequence)") }
            if (delivery.event == .open) != (delivery.sequence == 1) { faults.append("open is not the first") }
            switch delivery.event {
            case .open, .revalidate, .detached, .resumed: break
            case .message(_, let payload, _): take([payload])
            case .batch(let messages):
                if messages.count < 2 || messages.count > maxBatch { faults.append("a batch of \(messages.count)") }
                take(messages.map(\.payload))
            case .close:
                closes += 1
                if !hasEnded || !isAccepted || !waiting.isEmpty { faults.append("closed too early") }
            }
            inFlight = delivery.event
        }
    }

    private mutating func take(_ payloads: [ByteBuffer]) {
        if !waiting.starts(with: payloads) { faults.append("out of order at \(sequence)") }
        waiting.removeFirst(min(payloads.count, waiting.count))
    }

    private mutating func check() {
        var bytes = waiting.reduce(0) { $0 + $1.readableBytes + SessionStateMachine.messageOverhead }
        switch inFlight {
        case .message(_, let payload, _): bytes += payload.readableBytes + SessionStateMachine.messageOverhead
        case .batch(let messages):
            for message in messages { bytes += message.payload.readableBytes + SessionStateMachine.messageOverhead }
        default: break
        }
        if machine.pendingBytes != bytes { faults.append("\(machine.pendingBytes) bytes instead of \(bytes)") }
        if machine.queuedMessages != waiting.count { faults.append("another number of messages waits") }
        if machine.isQuiet != (inFlight == nil && waiting.isEmpty) { faults.append("it is quiet or it is not") }
        if machine.isRunning != (isAccepted && !hasEnded) { faults.append("it is running or it is not") }
    }
}

@Suite("Session state machine, random events")
struct SessionRandomTests {
    @Test(
        "Whatever happens: no gap, one event in flight, close last and exactly once after an accept, no byte left",
        arguments: UInt64(1)...40
    )
    func invariants(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<100 {
            var ledger = SessionLedger(maxBatch: [1, 2, 5].randomElement(using: &random) ?? 1)
            let steps = Int.random(in: 1...120, using: &random)
            // A rare end makes long sessions, a frequent one those that end in odd moments.
            let endings = Bool.random(using: &random)
            for step in 0..<steps {
                var choice = Int.random(in: 0...11, using: &random)
                if choice == 9 || choice == 2, endings, Int.random(in: 0..<20, using: &random) > 0 { choice = 4 }
                ledger.play(choice, size: Int.random(in: 0...40, using: &random), at: Int64(step))
            }
            ledger.play(9, size: 0, at: 1000)
            for _ in 0..<steps + 3 { ledger.play(6, size: 0, at: 1001) }
            let isWhole =
                ledger.isAccepted
                ? ledger.closes == 1 && ledger.isFinished : ledger.closes == 0 && !ledger.isFinished
            if !ledger.faults.isEmpty || !isWhole || ledger.machine.pendingBytes != 0 {
                Issue.record("seed \(seed): \(ledger.faults) closes \(ledger.closes) \(ledger.machine)")
                return
            }
        }
    }
}
