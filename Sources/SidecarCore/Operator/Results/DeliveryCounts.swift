/// How many connections a message was for, and how many of them got it.
public struct DeliveryCounts: Codable, Sendable, Equatable {
    /// Connections that it was for.
    public var matched: Int
    /// Those for which it was queued.
    public var queued: Int
    /// Those that had no room for it.
    public var dropped: Int
    /// Which nodes were asked; nil without a cluster.
    public var coverage: ClusterCoverage?

    /// Counts.
    public init(matched: Int = 0, queued: Int = 0, dropped: Int = 0, coverage: ClusterCoverage? = nil) {
        self.coverage = coverage
        self.matched = matched
        self.queued = queued
        self.dropped = dropped
    }
}

/// Which nodes an answer is about.
public struct ClusterCoverage: Codable, Sendable, Equatable {
    /// How many nodes have answered, the one that was asked included.
    public var nodes: Int
    /// The names of those that have not.
    public var missing: [String]

    /// A coverage.
    public init(nodes: Int, missing: [String] = []) {
        self.nodes = nodes
        self.missing = missing
    }
}
