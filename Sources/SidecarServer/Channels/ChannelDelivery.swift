import NIOCore
import SidecarCore

/// A publication on its way to the subscribers of one event loop.
struct ChannelDelivery: Sendable {
    let message: PreparedMessage
    let channel: ChannelName
    /// Its position, for event streams; nil without any.
    let mark: StreamMark?
    let excluded: ExcludedConnection?
    let tally: PublicationTally?
    let queuedAt: NIODeadline
}
