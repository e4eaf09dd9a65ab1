import DequeModule

/// A counted number of permits, handed out in the order in which they were asked for.
///
/// The value behind `WEBHOOK_MAX_IN_FLIGHT`: whoever finds no permit leaves a ticket, and a returned permit goes
/// to the oldest ticket, so that a busy loop cannot starve a quiet one.
public struct FairPermits<Ticket> {
    private var available: Int
    private var waiting: Deque<Ticket> = []

    /// Permits in all.
    public let capacity: Int

    /// Makes `capacity` permits, at least one.
    public init(capacity: Int) {
        self.capacity = max(capacity, 1)
        self.available = max(capacity, 1)
    }

    /// Permits handed out.
    public var inUse: Int { capacity - available }
    /// Tickets that wait.
    public var queueDepth: Int { waiting.count }

    /// Takes a permit if one is free and nobody waits; else files the ticket.
    ///
    /// - Returns: True when the permit was taken.
    public mutating func acquire(orWaitWith ticket: @autoclosure () -> Ticket) -> Bool {
        if available > 0, waiting.isEmpty {
            available -= 1
            return true
        }
        waiting.append(ticket())
        return false
    }

    /// Gives a permit back; if somebody waits, it passes to the ticket returned.
    public mutating func release() -> Ticket? {
        if let next = waiting.popFirst() { return next }
        if available < capacity { available += 1 }
        return nil
    }
}
