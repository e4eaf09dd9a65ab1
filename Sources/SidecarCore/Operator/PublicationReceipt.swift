/// What became of a message at those that it was for.
public struct DeliveryCounts: Sendable, Equatable {
    /// Connections that it was for.
    public var matched: Int
    /// Those that it was queued for.
    public var queued: Int
    /// Those that had no room for it.
    public var dropped: Int

    /// Makes one.
    public init(matched: Int = 0, queued: Int = 0, dropped: Int = 0) {
        self.matched = matched
        self.queued = queued
        self.dropped = dropped
    }
}

/// What became of a publication.
public struct PublicationReceipt: Sendable, Equatable {
    /// Its place.
    public let position: ChannelPosition
    /// How many got it.
    public let counts: DeliveryCounts

    /// Makes one.
    public init(position: ChannelPosition, counts: DeliveryCounts) {
        self.position = position
        self.counts = counts
    }
}
