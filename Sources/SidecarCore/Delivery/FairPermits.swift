import DequeModule

/// A fixed number of permits, handed out on three lanes, on each in the order in which they were asked for.
///
/// Used for `WEBHOOK_MAX_IN_FLIGHT`: a caller that finds no free permit leaves a ticket, and a returned permit goes
/// to the oldest ticket, so that a busy loop cannot starve a quiet one.
///
/// Handshakes and closes have lanes of their own. Each of the two holds at most half of the permits, and while messages
/// wait as well, the two together get every fourth permit that is returned. So a storm of connects or disconnects does
/// not hold up the open sockets, and still makes progress.
public struct FairPermits<Ticket> {
    private struct Queue {
        var tickets: Deque<Ticket> = []
        var live = 0
        var inUse = 0
        let capacity: Int
        let maxWaiting: Int

        var mayGo: Bool { live > 0 && inUse < capacity }

        mutating func lose(_ isAlive: (Ticket) -> Bool) {
            live -= 1
            if tickets.count > 2 * live + 32 { tickets.removeAll { !isAlive($0) } }
        }

        mutating func popLive(_ isAlive: (Ticket) -> Bool) -> Ticket? {
            while let ticket = tickets.popFirst() {
                guard isAlive(ticket) else { continue }
                live -= 1
                inUse += 1
                return ticket
            }
            return nil
        }
    }

    /// While messages and others wait, one of this many returned permits goes to the others.
    private static var turnOfOthers: Int { 4 }

    private var available: Int
    private var events: Queue
    private var handshakes: Queue
    private var closes: Queue
    private var eventsInARow = 0
    private var isTurnOfCloses = false
    private let isAlive: (Ticket) -> Bool

    /// Permits in all.
    public let capacity: Int

    /// Makes `capacity` permits, at least one.
    ///
    /// - Parameters:
    ///   - maxWaitingHandshakes: Tickets that may wait on the lane of handshakes.
    ///   - isAlive: False for a ticket whose holder has given up; it is skipped, see ``gaveUp(_:)``.
    public init(
        capacity: Int,
        maxWaitingHandshakes: Int = .max,
        isAlive: @escaping (Ticket) -> Bool = { _ in true }
    ) {
        self.isAlive = isAlive
        self.capacity = max(capacity, 1)
        available = self.capacity
        let half = max(self.capacity / 2, 1)
        events = Queue(capacity: self.capacity, maxWaiting: .max)
        handshakes = Queue(capacity: half, maxWaiting: max(maxWaitingHandshakes, 0))
        closes = Queue(capacity: half, maxWaiting: .max)
    }

    /// Permits handed out.
    public var inUse: Int { capacity - available }
    /// True when no permit is free.
    public var isSpent: Bool { available == 0 }
    /// Tickets that are waiting.
    public var queueDepth: Int { events.live + handshakes.live + closes.live }
    /// Tickets that are waiting on a lane; for tests.
    func waiting(_ lane: PermitLane) -> Int { self[lane].live }

    private subscript(lane: PermitLane) -> Queue {
        get {
            switch lane {
            case .events: events
            case .handshakes: handshakes
            case .closes: closes
            }
        }
        set {
            switch lane {
            case .events: events = newValue
            case .handshakes: handshakes = newValue
            case .closes: closes = newValue
            }
        }
        _modify {
            switch lane {
            case .events: yield &events
            case .handshakes: yield &handshakes
            case .closes: yield &closes
            }
        }
    }

    /// Takes a permit if one is free for this lane and no ticket waits on it; otherwise files the ticket.
    public mutating func acquire(_ lane: PermitLane = .events, orWaitWith ticket: @autoclosure () -> Ticket)
        -> PermitAnswer
    {
        if available > 0, self[lane].live == 0, self[lane].inUse < self[lane].capacity {
            available -= 1
            self[lane].inUse += 1
            return .granted
        }
        return enqueue(lane, ticket()) ? .queued : .full
    }

    /// Files a ticket without asking for a permit; false when too many handshakes wait already.
    public mutating func enqueue(_ lane: PermitLane, _ ticket: @autoclosure () -> Ticket) -> Bool {
        guard self[lane].live < self[lane].maxWaiting else { return false }
        self[lane].tickets.append(ticket())
        self[lane].live += 1
        return true
    }

    /// The holder of a waiting ticket has given up; `isAlive` is already false for it.
    public mutating func gaveUp(_ lane: PermitLane) {
        self[lane].lose(isAlive)
    }

    /// Returns a permit to the lane that it was taken from; ask ``next()`` who gets it.
    public mutating func giveBack(_ lane: PermitLane = .events) {
        guard available < capacity, self[lane].inUse > 0 else { return }
        self[lane].inUse -= 1
        available += 1
    }

    /// Takes a free permit for the ticket whose turn it is.
    public mutating func next() -> Ticket? {
        guard available > 0 else { return nil }
        if events.live == 0 || eventsInARow >= Self.turnOfOthers - 1, let ticket = nextOfOthers() {
            available -= 1
            eventsInARow = 0
            return ticket
        }
        guard events.live > 0, let ticket = events.popLive(isAlive) else { return nil }
        available -= 1
        eventsInARow += 1
        return ticket
    }

    private mutating func nextOfOthers() -> Ticket? {
        for lane in isTurnOfCloses ? [PermitLane.closes, .handshakes] : [.handshakes, .closes] where self[lane].mayGo {
            isTurnOfCloses = lane == .handshakes
            return self[lane].popLive(isAlive)
        }
        return nil
    }
}

/// The result of asking for a permit.
public enum PermitAnswer: Sendable, Equatable {
    /// A permit is free and taken.
    case granted
    /// The ticket waits.
    case queued
    /// Too many handshakes wait already.
    case full
}
