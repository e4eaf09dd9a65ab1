import Logging
import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// Those who wait, in the order in which they were called.
private final class Record {
    var called: [String] = []
}

private final class Caller: WebhookCaller {
    private let name: String
    private let record: Record

    init(_ name: String, _ record: Record) {
        self.name = name
        self.record = record
    }

    func permitGranted(_ ticket: WebhookTicket, address: Int) {
        record.called.append(name)
    }
}

/// A gate with a loop whose time the test moves.
private final class GateRig {
    let loop = EmbeddedEventLoop()
    let record = Record()
    let log = RecordedLog()
    let gate: WebhookGate

    init(_ capacity: Int, addresses: Int = 1) {
        gate = WebhookGate(
            addresses: (0..<addresses).map { "address \($0)" },
            capacity: capacity,
            logger: log.logger
        )
    }

    /// Asks for a turn, and says what came of it.
    func ask(
        _ name: String,
        _ lane: PermitLane = .events,
        otherThan refused: Set<Int> = [],
        on loop: EmbeddedEventLoop? = nil
    ) -> (words: String, ticket: WebhookTicket?) {
        let loop = loop ?? self.loop
        switch gate.acquire(lane, for: Caller(name, record), otherThan: refused, on: loop, at: loop.now) {
        case .granted(let address): return ("granted \(address)", nil)
        case .queued(let ticket): return ("queued", ticket)
        case .full: return ("full", nil)
        case .unavailable: return ("unavailable", nil)
        }
    }

    func release(_ lane: PermitLane = .events, _ outcome: CircuitBreaker.Outcome = .success) {
        gate.release(lane, address: 0, outcome, on: loop, at: loop.now)
    }

    /// Lets the address fail until its breaker opens.
    func open() {
        for _ in 0..<CircuitBreaker.failuresInARow {
            #expect(ask("failing").words == "granted 0")
            release(.events, .failure)
        }
    }
}

@Suite("The gate of the app")
struct WebhookGateTests {
    // MARK: Turns

    @Test("A permit that comes back goes to who has waited longest, others by the lanes' turns")
    func lanes() {
        let rig = GateRig(1)
        #expect(rig.ask("first").words == "granted 0")
        let waiting: [(String, PermitLane)] = [
            ("h1", .handshakes), ("c1", .closes), ("e1", .events), ("e2", .events), ("e3", .events), ("e4", .events),
            ("e5", .events),
        ]
        for (name, lane) in waiting { #expect(rig.ask(name, lane).words == "queued") }
        #expect(rig.gate.queueDepth == 7)
        var last = PermitLane.events
        for _ in waiting {
            rig.release(last)
            #expect(rig.gate.inUse == 1)
            rig.loop.run()
            last = waiting.first { $0.0 == rig.record.called.last }?.1 ?? .events
        }
        #expect(rig.record.called == ["e1", "e2", "e3", "h1", "e4", "e5", "c1"])
        rig.release(last)
        #expect(rig.gate.inUse == 0 && rig.gate.queueDepth == 0)
    }

    @Test("Nobody is called within the call of another")
    func neverAtOnce() {
        let rig = GateRig(1)
        _ = rig.ask("first")
        _ = rig.ask("second")
        rig.release()
        #expect(rig.record.called == [] && rig.gate.inUse == 1, "the permit is taken, but its loop has to come to it")
        rig.loop.run()
        #expect(rig.record.called == ["second"])
    }

    @Test("Who has given up is left out, and its place counts no more")
    func giveUp() throws {
        let rig = GateRig(1)
        _ = rig.ask("first")
        let tickets = ["1", "2", "3"].compactMap { rig.ask($0).ticket }
        try #require(tickets.count == 3)
        rig.gate.giveUp(tickets[0])
        rig.gate.giveUp(tickets[0])
        #expect(rig.gate.queueDepth == 2)
        rig.release()
        rig.gate.giveUp(tickets[1])  // too late: its turn is on its way, and it has to give the permit back
        #expect(rig.gate.inUse == 1 && rig.gate.queueDepth == 1)
        rig.loop.run()
        #expect(rig.record.called == ["2"])
        rig.release(.events, .neutral)
        rig.loop.run()
        #expect(rig.record.called == ["2", "3"])
    }

    @Test("Each is called on its own loop")
    func loops() {
        let rig = GateRig(1)
        let other = EmbeddedEventLoop()
        _ = rig.ask("first")
        _ = rig.ask("there", on: other)
        _ = rig.ask("here")
        rig.release()
        rig.loop.run()
        #expect(rig.record.called == [])
        other.run()
        #expect(rig.record.called == ["there"])
        rig.gate.release(.events, address: 0, .success, on: other, at: other.now)
        other.run()
        #expect(rig.record.called == ["there"])
        rig.loop.run()
        #expect(rig.record.called == ["there", "here"])
    }

    @Test("A ticket keeps its caller until it is called or gives up, and no longer")
    func keepsCallers() {
        let rig = GateRig(1)
        _ = rig.ask("first")
        weak var called: Caller?
        weak var gone: Caller?
        var tickets: [WebhookTicket] = []
        do {
            let callers = [Caller("called", rig.record), Caller("gone", rig.record)]
            called = callers[0]
            gone = callers[1]
            for caller in callers {
                if case .queued(let ticket) = rig.gate.acquire(.events, for: caller, on: rig.loop, at: rig.loop.now) {
                    tickets.append(ticket)
                }
            }
        }
        #expect(called != nil && gone != nil && tickets.count == 2)
        for ticket in tickets.suffix(1) { rig.gate.giveUp(ticket) }
        #expect(gone == nil)
        rig.release()
        rig.loop.run()
        #expect(called == nil && rig.record.called == ["called"])
    }

    @Test("Of two addresses the one that just refused is not called, as long as there is another")
    func otherAddress() {
        let rig = GateRig(10, addresses: 2)
        #expect(rig.ask("a", otherThan: [0]).words == "granted 1")
        #expect(rig.ask("b", otherThan: [0, 1]).words.hasPrefix("granted "))
    }

    @Test("Only so many handshakes may wait")
    func handshakes() {
        let rig = GateRig(1)
        _ = rig.ask("first", .handshakes)
        for _ in 0..<WebhookGate.maxWaitingHandshakes {
            guard
                case .queued = rig.gate.acquire(
                    .handshakes,
                    for: Caller("", rig.record),
                    on: rig.loop,
                    at: rig.loop.now
                )
            else {
                Issue.record("there is room")
                return
            }
        }
        #expect(rig.ask("one more", .handshakes).words == "full")
        #expect(rig.ask("event").words == "queued")
    }

    // MARK: Breakers

    @Test("An open breaker lets events wait and refuses handshakes, and one after its pause tries")
    func breaker() {
        let rig = GateRig(10)
        rig.open()
        #expect(rig.gate.addresses.map(\.breaker) == [.open])
        #expect(rig.log.messages == ["circuit breaker opened: the app is failing; events wait"])
        #expect(rig.gate.isEveryAddressFailing && !rig.gate.admits(0))
        #expect(rig.ask("h", .handshakes).words == "unavailable")
        for name in ["1", "2", "3"] { #expect(rig.ask(name).words == "queued") }
        rig.loop.advanceTime(by: .milliseconds(490))
        #expect(rig.record.called == [])
        rig.loop.advanceTime(by: .milliseconds(20))
        #expect(rig.record.called == ["1"], "only one is a trial")
        #expect(!rig.gate.isEveryAddressFailing)
        rig.release()
        rig.loop.run()
        #expect(rig.record.called == ["1", "2", "3"])
    }

    @Test("A trial that fails opens it again, for longer")
    func trialFails() {
        let rig = GateRig(10)
        rig.open()
        _ = rig.ask("1")
        _ = rig.ask("2")
        rig.loop.advanceTime(by: .milliseconds(500))
        #expect(rig.record.called == ["1"])
        rig.release(.events, .failure)
        rig.loop.advanceTime(by: .milliseconds(990))
        #expect(rig.record.called == ["1"])
        rig.loop.advanceTime(by: .milliseconds(20))
        #expect(rig.record.called == ["1", "2"])
    }

    @Test("Whoever is woken, all loops get their turns")
    func wakesOthers() {
        let rig = GateRig(10)
        let other = EmbeddedEventLoop()
        rig.open()
        _ = rig.ask("there", on: other)
        _ = rig.ask("here")
        other.advanceTime(by: .milliseconds(500))
        #expect(rig.record.called == ["there"])
        rig.gate.release(.events, address: 0, .success, on: other, at: other.now)
        rig.loop.run()
        #expect(rig.record.called == ["there", "here"])
    }

    @Test("When the process ends nobody is woken any more")
    func stopped() {
        let rig = GateRig(10)
        rig.open()
        rig.gate.stop()
        _ = rig.ask("1")
        rig.loop.advanceTime(by: .seconds(60))
        #expect(rig.record.called == [])
    }

    @Test("An address that fails its health check is not called, and those who wait are when it passes again")
    func health() {
        let rig = GateRig(10)
        rig.gate.noteHealth(address: 0, isDown: true, on: rig.loop)
        rig.gate.noteHealth(address: 0, isDown: true, on: rig.loop)
        #expect(rig.gate.isEveryAddressFailing && rig.gate.addresses.map(\.isDown) == [true])
        #expect(rig.ask("1").words == "queued")
        #expect(rig.ask("h", .handshakes).words == "unavailable")
        rig.gate.noteHealth(address: 7, isDown: false, on: rig.loop)
        rig.loop.advanceTime(by: .seconds(60))
        #expect(rig.record.called == [])
        rig.gate.noteHealth(address: 0, isDown: false, on: rig.loop)
        rig.loop.run()
        #expect(rig.record.called == ["1"] && rig.gate.inUse == 1)
        #expect(rig.log.messages == ["health check failed", "health check passed again"])
    }
}
