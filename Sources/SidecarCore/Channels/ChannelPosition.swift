/// The position of a message in its channel.
///
/// Only the broker that assigned it can interpret it; others show it and hand it back.
public struct ChannelPosition: Sendable, Equatable {
    /// Grows with each message of the channel, though not by one in every broker.
    public let offset: UInt64
    /// Changes when offsets start again, since earlier messages were lost.
    public let epoch: ChannelEpoch
    /// Its position among all publications, for event streams.
    public let cursor: StreamCursor

    /// Makes one.
    public init(offset: UInt64, epoch: ChannelEpoch, cursor: StreamCursor) {
        self.offset = offset
        self.epoch = epoch
        self.cursor = cursor
    }
}
