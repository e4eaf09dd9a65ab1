import DequeModule

/// What a permit for a call to the app is wanted for.
public enum PermitLane: Sendable, Equatable {
    /// An event of an open connection.
    case events
    /// The `open` event of a handshake.
    case handshakes
}

/// What became of asking for a permit.
public enum PermitAnswer: Sendable, Equatable {
    /// It is taken.
    case granted
    /// The ticket waits.
    case queued
    /// Too many handshakes wait already.
    case full
}

/// A counted number of permits, handed out in the order in which they were asked for, on two lanes.
///
/// The value behind `WEBHOOK_MAX_IN_FLIGHT`: whoever finds no permit leaves a ticket, and a returned permit goes
/// to the oldest ticket, so that a busy loop cannot starve a quiet one.
///
/// Handshakes have a lane of their own. When thousands reconnect at once they hold at most half of the permits, and
/// of those that come free they get every fourth while others wait too: the sockets that are open don't queue up
/// behind the storm, and the storm still moves.
public struct FairPermits<Ticket> {
    /// Of the permits that come free while both lanes wait, one in this many goes to a handshake.
    private static var handshakeTurn: Int { 4 }

    private var available: Int
    private var events: Deque<Ticket> = []
    private var handshakes: Deque<Ticket> = []
    private var liveEvents = 0
    private var liveHandshakes = 0
    private let isAlive: (Ticket) -> Bool
    private var handshakesInUse = 0
    private var eventsInARow = 0
    private let handshakeCapacity: Int
    private let maxWaitingHandshakes: Int

    /// Permits in all.
    public let capacity: Int

    /// Makes `capacity` permits, at least one.
    ///
    /// - Parameters:
    ///   - maxWaitingHandshakes: Tickets that may wait on the lane of handshakes.
    ///   - isAlive: False for a ticket whose holder has given up; it is passed over, see ``gaveUp(_:)``.
    public init(
        capacity: Int,
        maxWaitingHandshakes: Int = .max,
        isAlive: @escaping (Ticket) -> Bool = { _ in true }
    ) {
        self.isAlive = isAlive
        self.capacity = max(capacity, 1)
        self.available = max(capacity, 1)
        self.handshakeCapacity = max(self.capacity / 2, 1)
        self.maxWaitingHandshakes = max(maxWaitingHandshakes, 0)
    }

    /// Permits handed out.
    public var inUse: Int { capacity - available }
    /// Tickets that wait.
    public var queueDepth: Int { liveEvents + liveHandshakes }
    /// True when every permit is handed out.
    public var isSpent: Bool { available == 0 }
    /// Tickets of handshakes that wait.
    public var waitingHandshakes: Int { liveHandshakes }

    /// Takes a permit if one is free for this lane and nobody waits there; else files the ticket.
    public mutating func acquire(_ lane: PermitLane = .events, orWaitWith ticket: @autoclosure () -> Ticket)
        -> PermitAnswer
    {
        switch lane {
        case .events:
            if available > 0, liveEvents == 0 {
                available -= 1
                return .granted
            }
        case .handshakes:
            if available > 0, liveHandshakes == 0, handshakesInUse < handshakeCapacity {
                available -= 1
                handshakesInUse += 1
                return .granted
            }
        }
        return enqueue(lane, ticket()) ? .queued : .full
    }

    /// Files a ticket without asking for a permit; false when too many handshakes wait already.
    public mutating func enqueue(_ lane: PermitLane, _ ticket: @autoclosure () -> Ticket) -> Bool {
        switch lane {
        case .events:
            events.append(ticket())
            liveEvents += 1
        case .handshakes:
            guard liveHandshakes < maxWaitingHandshakes else { return false }
            handshakes.append(ticket())
            liveHandshakes += 1
        }
        return true
    }

    /// The holder of a ticket that waits has given up, and ``isAlive`` says so by now.
    public mutating func gaveUp(_ lane: PermitLane) {
        switch lane {
        case .events:
            liveEvents -= 1
            if events.count > 2 * liveEvents + 32 { events.removeAll { !isAlive($0) } }
        case .handshakes:
            liveHandshakes -= 1
            if handshakes.count > 2 * liveHandshakes + 32 { handshakes.removeAll { !isAlive($0) } }
        }
    }

    /// Gives a permit back, on the lane that it was taken on; ask ``next()`` who gets it.
    public mutating func giveBack(_ lane: PermitLane = .events) {
        guard available < capacity else { return }
        if lane == .handshakes, handshakesInUse > 0 { handshakesInUse -= 1 }
        available += 1
    }

    /// Hands a free permit to the ticket whose turn it is.
    public mutating func next() -> Ticket? {
        guard available > 0 else { return nil }
        let mayAdmit = liveHandshakes > 0 && handshakesInUse < handshakeCapacity
        if mayAdmit, liveEvents == 0 || eventsInARow >= Self.handshakeTurn - 1,
            let ticket = Self.popLive(&handshakes, isAlive)
        {
            available -= 1
            eventsInARow = 0
            handshakesInUse += 1
            liveHandshakes -= 1
            return ticket
        }
        guard let ticket = Self.popLive(&events, isAlive) else { return nil }
        available -= 1
        eventsInARow += 1
        liveEvents -= 1
        return ticket
    }

    private static func popLive(_ queue: inout Deque<Ticket>, _ isAlive: (Ticket) -> Bool) -> Ticket? {
        while let ticket = queue.popFirst() {
            if isAlive(ticket) { return ticket }
        }
        return nil
    }
}
