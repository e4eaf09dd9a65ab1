/// The position of a message in its channel.
///
/// Only the broker that assigned it can interpret it; others show it and hand it back.
public struct ChannelPosition: Sendable, Equatable {
    /// Grows with each message of the channel, though not by one in every broker.
    public let offset: UInt64
    /// Changes when offsets start again, since earlier messages were lost.
    public let epoch: ChannelEpoch
    /// The message at the offset. A broker that loses the last messages of a channel unnoticed, and then gives their
    /// offsets to others, recognises by it who has seen the lost ones.
    public let id: MessageID
    /// What it means for the position of an event stream.
    public let mark: StreamMark

    /// Makes one.
    public init(offset: UInt64, epoch: ChannelEpoch, id: MessageID, mark: StreamMark) {
        self.offset = offset
        self.epoch = epoch
        self.id = id
        self.mark = mark
    }

    /// A position of a broker that loses no messages unnoticed.
    public init(offset: UInt64, epoch: ChannelEpoch, mark: StreamMark) {
        self.init(offset: offset, epoch: epoch, id: MessageID(epoch: epoch, offset: offset), mark: mark)
    }

    /// A position of a broker that orders each channel by itself.
    public init(offset: UInt64, epoch: ChannelEpoch, id: MessageID, in channel: ChannelName) {
        let mark = ChannelMark(channel, epoch: epoch, offset: offset, id: id)
        self.init(offset: offset, epoch: epoch, id: id, mark: .channel(mark))
    }
}
