/// How many connections a message was for, and how many of them got it.
public struct DeliveryCounts: Sendable, Equatable {
    /// Connections that it was for.
    public var matched: Int
    /// Those for which it was queued.
    public var queued: Int
    /// Those that had no room for it.
    public var dropped: Int

    /// Counts.
    public init(matched: Int = 0, queued: Int = 0, dropped: Int = 0) {
        self.matched = matched
        self.queued = queued
        self.dropped = dropped
    }
}
