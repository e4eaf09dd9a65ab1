public import NIOCore

/// Decides which event may call which address of the app, and when: permits, breakers and health in one place.
///
/// Of the addresses that may be called, the one with the fewest calls in flight is next.
public struct CallDispatcher<Ticket> {
    /// One address of the app.
    public struct Address: Sendable, Equatable {
        /// Its breaker.
        public fileprivate(set) var breaker: CircuitBreaker
        /// Calls in flight.
        public fileprivate(set) var inFlight = 0
        /// Whether its health check fails.
        public fileprivate(set) var isDown = false

        func admits(at now: NIODeadline) -> Bool { !isDown && breaker.admits(inFlight: inFlight, at: now) }
    }

    private var permits: FairPermits<Ticket>
    private let refusedBy: (Ticket) -> Set<Int>
    private var turn = 0

    /// All addresses, in the order in which they were configured.
    public private(set) var addresses: [Address]

    /// A dispatcher for so many addresses, at least one.
    ///
    /// - Parameters:
    ///   - capacity: Calls at once to all of them.
    ///   - maxWaitingHandshakes: Handshakes that may wait.
    ///   - isAlive: False for a ticket whose holder has given up.
    ///   - refusedBy: The addresses that have just refused the holder of a ticket.
    public init(
        addresses count: Int,
        capacity: Int,
        maxWaitingHandshakes: Int = .max,
        isAlive: @escaping (Ticket) -> Bool = { _ in true },
        refusedBy: @escaping (Ticket) -> Set<Int> = { _ in [] }
    ) {
        self.refusedBy = refusedBy
        permits = FairPermits(capacity: capacity, maxWaitingHandshakes: maxWaitingHandshakes, isAlive: isAlive)
        addresses = Array(
            repeating: Address(breaker: CircuitBreaker(capacity: min(max(capacity, 1), 64))),
            count: max(count, 1)
        )
    }

    /// Calls in flight.
    public var inUse: Int { permits.inUse }
    /// Tickets that are waiting.
    public var queueDepth: Int { permits.queueDepth }

    /// True when every address is known to fail and none is being probed.
    public var isEveryAddressFailing: Bool {
        addresses.allSatisfy { $0.isDown || $0.breaker.state == .open }
    }

    /// The next moment at which a breaker's pause ends and a waiting ticket may go; nil when none waits for that. Until
    /// then only a call or a health check can change the outcome.
    public func wakeAt(after now: NIODeadline) -> NIODeadline? {
        guard permits.queueDepth > 0, !permits.isSpent else { return nil }
        return addresses.lazy.filter { !$0.isDown }.compactMap(\.breaker.pauseEnds).filter { $0 > now }.min()
    }

    /// Asks for a call.
    ///
    /// - Parameter refused: Addresses that have just refused the connection; called only if no other can be.
    public mutating func acquire(
        _ lane: PermitLane,
        at now: NIODeadline,
        otherThan refused: Set<Int> = [],
        orWaitWith ticket: @autoclosure () -> Ticket
    ) -> CallAnswer {
        guard let address = choose(at: now, otherThan: refused) else {
            if lane == .handshakes, isEveryAddressFailing { return .unavailable }
            return permits.enqueue(lane, ticket()) ? .queued : .full
        }
        switch permits.acquire(lane, orWaitWith: ticket()) {
        case .granted: return .granted(address: begin(address, at: now))
        case .queued: return .queued
        case .full: return .full
        }
    }

    /// The holder of a waiting ticket has given up; `isAlive` is already false for it.
    public mutating func gaveUp(_ lane: PermitLane) { permits.gaveUp(lane) }

    /// A call has ended; ask ``next(at:)`` for the next one.
    public mutating func ended(
        _ lane: PermitLane,
        address: Int,
        _ outcome: CircuitBreaker.Outcome,
        at now: NIODeadline
    ) -> CircuitBreaker.Change? {
        permits.giveBack(lane)
        guard addresses.indices.contains(address) else { return nil }
        addresses[address].inFlight -= 1
        return addresses[address].breaker.ended(outcome, at: now)
    }

    /// Records the result of an address's health check.
    ///
    /// - Returns: True when it differs from the one before.
    public mutating func noteHealth(address: Int, isDown: Bool) -> Bool {
        guard addresses.indices.contains(address), addresses[address].isDown != isDown else { return false }
        addresses[address].isDown = isDown
        return true
    }

    /// Takes the next ticket that may go, with the address that it may call.
    public mutating func next(at now: NIODeadline) -> (ticket: Ticket, address: Int)? {
        guard permits.queueDepth > 0, let any = choose(at: now), let ticket = permits.next() else { return nil }
        let refused = addresses.count > 1 ? refusedBy(ticket) : []
        let address = refused.contains(any) ? choose(at: now, otherThan: refused) ?? any : any
        return (ticket, begin(address, at: now))
    }

    private mutating func begin(_ address: Int, at now: NIODeadline) -> Int {
        addresses[address].inFlight += 1
        addresses[address].breaker.began(at: now)
        turn = address + 1
        return address
    }

    private func choose(at now: NIODeadline, otherThan refused: Set<Int> = []) -> Int? {
        if addresses.count == 1 { return addresses[0].admits(at: now) ? 0 : nil }
        if !refused.isEmpty, let other = best(at: now, without: refused) { return other }
        return best(at: now, without: [])
    }

    /// Of the addresses that may be called the one with the fewest calls in flight; several such take turns.
    private func best(at now: NIODeadline, without refused: Set<Int>) -> Int? {
        var best: Int?
        for step in addresses.indices {
            let index = (turn + step) % addresses.count
            guard addresses[index].admits(at: now), !refused.contains(index) else { continue }
            if let known = best, addresses[known].inFlight <= addresses[index].inFlight { continue }
            best = index
        }
        return best
    }
}
