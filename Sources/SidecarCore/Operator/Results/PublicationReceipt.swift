/// The result of a publication.
public struct PublicationReceipt: Sendable, Equatable {
    /// Its position.
    public let position: ChannelPosition
    /// How many got it.
    public let counts: DeliveryCounts
    /// Which nodes they are on; nil without a cluster.
    public let scope: Scope?

    /// Which nodes were counted.
    public enum Scope: Sendable, Equatable {
        /// The one that was asked.
        case node
        /// All with subscribers, and the one that was asked; the counts say which have answered.
        case cluster
    }

    /// A result.
    public init(position: ChannelPosition, counts: DeliveryCounts, scope: Scope? = nil) {
        self.scope = scope
        self.position = position
        self.counts = counts
    }
}
