/// What a broker tells its node, on any thread.
///
/// Events of one channel come one after the other, messages in the order of their positions. Implementations must be
/// quick and must not call the broker, which may hold a lock during the call.
public protocol ChannelBrokerEvents: AnyObject, Sendable {
    /// A message of a channel that is subscribed here.
    ///
    /// - Parameter time: When it was published, in milliseconds since 1970; nil when that is now.
    func received(_ envelope: ChannelEnvelope, at position: ChannelPosition, time: Int64?)

    /// A client's event for the members of a channel that is subscribed here; in no order with the messages.
    func received(_ event: ClientBroadcast)

    /// What another node tells of its users in a channel that is subscribed here; in the order in which it was told.
    func received(_ notice: MemberNotice, from node: NodeID)

    /// No more messages are pending for now. Comes soon after ``received(_:at:time:)``, may cover several, and no lock is
    /// held.
    func receiveComplete()

    /// The first node has subscribed to a channel, or the last one has left it.
    func occupancyChanged(_ channel: ChannelName, isOccupied: Bool)

    /// The broker has lost its connection: nothing is received for now.
    func interrupted()

    /// Messages of a subscribed channel are received (again). Also called without an interruption, when the broker has
    /// noticed that messages were lost.
    ///
    /// - Parameters:
    ///   - isComplete: Whether all messages published in the meantime have been received; otherwise some are lost.
    ///   - position: The next message received follows this position.
    func resumed(_ channel: ChannelName, isComplete: Bool, at position: ChannelPosition)
}
