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
    private var handshakesInUse = 0
    private var eventsInARow = 0
    private let handshakeCapacity: Int
    private let maxWaitingHandshakes: Int

    /// Permits in all.
    public let capacity: Int

    /// Makes `capacity` permits, at least one.
    ///
    /// - Parameter maxWaitingHandshakes: Tickets that may wait on the lane of handshakes.
    public init(capacity: Int, maxWaitingHandshakes: Int = .max) {
        self.capacity = max(capacity, 1)
        self.available = max(capacity, 1)
        self.handshakeCapacity = max(self.capacity / 2, 1)
        self.maxWaitingHandshakes = max(maxWaitingHandshakes, 0)
    }

    /// Permits handed out.
    public var inUse: Int { capacity - available }
    /// Tickets that wait.
    public var queueDepth: Int { events.count + handshakes.count }
    /// Tickets of handshakes that wait.
    public var waitingHandshakes: Int { handshakes.count }

    /// Takes a permit if one is free for this lane and nobody waits there; else files the ticket.
    public mutating func acquire(_ lane: PermitLane = .events, orWaitWith ticket: @autoclosure () -> Ticket)
        -> PermitAnswer
    {
        switch lane {
        case .events:
            if available > 0, events.isEmpty {
                available -= 1
                return .granted
            }
        case .handshakes:
            if available > 0, handshakes.isEmpty, handshakesInUse < handshakeCapacity {
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
        case .handshakes:
            guard handshakes.count < maxWaitingHandshakes else { return false }
            handshakes.append(ticket())
        }
        return true
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
        let mayAdmit = !handshakes.isEmpty && handshakesInUse < handshakeCapacity
        if mayAdmit, events.isEmpty || eventsInARow >= Self.handshakeTurn - 1 {
            available -= 1
            eventsInARow = 0
            handshakesInUse += 1
            return handshakes.popFirst()
        }
        guard let ticket = events.popFirst() else { return nil }
        available -= 1
        eventsInARow += 1
        return ticket
    }
}
