/// The result of a publication.
public struct PublicationReceipt: Sendable, Equatable {
    /// Its position.
    public let position: ChannelPosition
    /// How many got it.
    public let counts: DeliveryCounts

    /// A result.
    public init(position: ChannelPosition, counts: DeliveryCounts) {
        self.position = position
        self.counts = counts
    }
}
