import SidecarCore

/// The last message that is known of a channel.
struct ChannelPoint: Sendable, Equatable {
    let epoch: ChannelEpoch
    /// 0 before the first message.
    let offset: UInt64
    /// 0 before the first message.
    let id: MessageID

    /// What others see of it.
    func position(in channel: ChannelName) -> ChannelPosition {
        ChannelPosition(offset: offset, epoch: epoch, id: id, in: channel)
    }
}
