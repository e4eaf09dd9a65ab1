import NIOCore
import SidecarCore

/// A publication on its way to the subscribers of this node.
final class ChannelDelivery: Sendable {
    let message: PreparedMessage
    let channel: ChannelName
    let position: ChannelPosition
    /// The same for event streams; nil without any.
    let mark: StreamMark?
    /// When it was published, in milliseconds since 1970.
    let time: Int64
    let excluded: ExcludedConnection?
    let tally: PublicationTally?
    let queuedAt: NIODeadline

    init(
        _ message: PreparedMessage,
        of channel: ChannelName,
        at position: ChannelPosition,
        mark: StreamMark?,
        time: Int64?,
        excluding excluded: ExcludedConnection?,
        tally: PublicationTally?
    ) {
        self.message = message
        self.channel = channel
        self.position = position
        self.mark = mark
        self.time = time ?? WallClock.unixMilliseconds()
        self.excluded = excluded
        self.tally = tally
        queuedAt = .now()
    }
}
