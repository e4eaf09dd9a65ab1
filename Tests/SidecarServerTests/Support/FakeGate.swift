import Logging
import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer

/// A gate that answers as it is told, and checks that each permit comes back exactly once.
final class FakeGate: WebhookGate, @unchecked Sendable {
    /// What it answers.
    enum Mode { case grants, queues, isFull, isUnavailable }

    var mode = Mode.grants
    /// Whether every address is known to fail.
    var isWithoutHope = false

    /// The lanes that were asked for, in order.
    private(set) var asked: [PermitLane] = []
    /// The addresses that were not wanted when it was asked last.
    private(set) var unwanted: Set<Int> = []
    /// What was said of the calls that have ended, in order.
    private(set) var outcomes: [CircuitBreaker.Outcome] = []
    /// How many have given up.
    private(set) var givenUp = 0
    /// The results of health checks.
    private(set) var health: [Bool] = []

    private let addressCount: Int
    private var held: [PermitLane] = []
    private var waiting: [WebhookTicket] = []
    private var called: [(ticket: WebhookTicket, caller: any WebhookCaller)] = []

    init(addresses: Int = 1) {
        addressCount = addresses
        super.init(
            addresses: (0..<addresses).map { "address \($0)" },
            capacity: 1,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        )
    }

    override var inUse: Int { held.count }
    override var queueDepth: Int { waiting.count }
    override var isEveryAddressFailing: Bool { isWithoutHope }
    /// True when nobody holds a permit, or waits for one.
    var isQuiet: Bool { held.isEmpty && waiting.isEmpty && called.isEmpty }

    override func acquire(
        _ lane: PermitLane,
        for caller: any WebhookCaller,
        otherThan refused: Set<Int> = [],
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) -> Answer {
        asked.append(lane)
        unwanted = refused
        switch mode {
        case .grants:
            held.append(lane)
            return .granted(address: (0..<addressCount).first { !refused.contains($0) } ?? 0)
        case .queues:
            let ticket = WebhookTicket(lane: lane, eventLoop: eventLoop, refusedBy: refused, caller: caller)
            waiting.append(ticket)
            return .queued(ticket)
        case .isFull: return .full
        case .isUnavailable: return .unavailable
        }
    }

    override func giveUp(_ ticket: WebhookTicket) {
        guard ticket.caller != nil else { return }
        ticket.caller = nil
        waiting.removeAll { $0 === ticket }
        givenUp += 1
    }

    override func release(
        _ lane: PermitLane,
        address: Int,
        _ outcome: CircuitBreaker.Outcome,
        on eventLoop: any EventLoop,
        at now: NIODeadline
    ) {
        guard let index = held.firstIndex(of: lane) else {
            Issue.record("a permit for \(lane) came back that nobody holds")
            return
        }
        held.remove(at: index)
        outcomes.append(outcome)
    }

    override func noteHealth(address: Int, isDown: Bool, on eventLoop: any EventLoop) { health.append(!isDown) }

    // MARK: Turns

    /// It is the turn of the one that waits longest, which does not know yet.
    func call() {
        guard !waiting.isEmpty else {
            Issue.record("nobody waits")
            return
        }
        let ticket = waiting.removeFirst()
        guard let caller = ticket.caller else { return }
        ticket.caller = nil
        held.append(ticket.lane)
        called.append((ticket, caller))
    }

    /// Those whose turn it is get to know.
    func tell() {
        let called = called
        self.called = []
        for (ticket, caller) in called { caller.permitGranted(ticket, address: 0) }
    }

    /// The one that waits longest has its turn.
    func grant() {
        call()
        tell()
    }
}
