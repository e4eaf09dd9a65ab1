/// Assigns positions to the messages of channels and keeps their history; with several nodes, connects them.
///
/// The broker does not know single subscribers of this node: it is told of the first and the last one of a channel, and
/// passes what is published to ``ChannelBrokerEvents``. Results come to a callback, on any thread, and one comes within a
/// bounded time; a broker that has the result at once calls back before it returns. No method may block.
///
/// `BrokerCheck` in TestSupport specifies the behaviour.
public protocol ChannelBroker: Sendable {
    /// Called with the message's position, or with why it was not published.
    typealias PublishCompletion = @Sendable (Result<ChannelPosition, ChannelFailure>) -> Void

    /// Assigns a message its position, keeps it if the channel has a history, and delivers it to the subscribers.
    ///
    /// Publications of one caller to one channel keep their order. On this node ``ChannelBrokerEvents/received(_:at:time:)``
    /// comes before the completion, if the channel is subscribed here, so that the completion can report who got the
    /// message.
    ///
    /// - Parameters:
    ///   - id: A broker that outlives this process publishes once for all calls with the same id to the same channel,
    ///     and gives each the same position. Within one process the callers ensure that, and the broker ignores it.
    func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?)

    /// Delivers a client's event to the members of a channel on all nodes, and keeps nothing of it.
    ///
    /// - Parameter completion: Called when it is on its way, or with why it is not.
    func broadcast(_ event: ClientBroadcast, _ completion: @escaping @Sendable (Result<Void, ChannelFailure>) -> Void)

    /// Tells the other nodes of a change among the users of a channel here (`presence=on`), in the order of the calls.
    ///
    /// Callers may hold a lock, so nothing is called back before this returns.
    ///
    /// - Parameter failed: Called when it is not known that the change is on its way: the others have to be told the
    ///   version (``MemberNotice``).
    func announce(_ notice: MemberNotice, failed: @escaping @Sendable () -> Void)

    /// Starts receiving what is published to a channel, until ``unsubscribe(_:)``.
    ///
    /// It may be called again for a later subscriber who needs a replay; one ``unsubscribe(_:)`` still ends it.
    ///
    /// - Parameters:
    ///   - position: The last message that the subscriber knows; nil for one who begins now.
    ///   - reader: Whose excluded messages are left out (``ExcludedConnection/reader``); 0 to leave out none.
    ///   - completion: Gets the replay. Messages after it may be received before that. With `unavailable` the
    ///     subscription stands, and ``ChannelBrokerEvents/resumed(_:isComplete:at:)`` says when it holds.
    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    )

    /// Stops receiving what is published to a channel.
    func unsubscribe(_ channel: ChannelName)

    /// What was published to some channels after a cursor, in one order; used only where the settings have event
    /// streams.
    ///
    /// - Parameters:
    ///   - cursor: What the client sent; nil when that is not a cursor.
    ///   - room: The newest messages that fit into so many bytes are read.
    ///   - overhead: What each message costs there beyond its payload, in bytes.
    ///   - completion: Gets the replay, which is incomplete when some messages cannot be determined. Everything after it
    ///     is received live, where the channels were subscribed to before, and possibly before the completion.
    func replay(
        of channels: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @Sendable @escaping (Result<Replay, ChannelFailure>) -> Void
    )

    /// What is kept of a channel.
    ///
    /// - Parameter epoch: The epoch that the reader knows, as shown to users; nil for any.
    /// - Throws: `unknownChannel`, also for a channel without a history; `gone` when the epoch has changed or the
    ///   messages after the offset are no longer kept.
    func history(of channel: ChannelName, _ part: HistoryPart, epoch: String?, limit: Int)
        async throws(ChannelFailure) -> ChannelHistory

    /// The position of a channel's last message.
    ///
    /// - Throws: `unknownChannel` when it has neither subscribers nor a history.
    func head(of channel: ChannelName) async throws(ChannelFailure) -> ChannelHead

    /// The channels whose names have this prefix and sort after `after`, by name.
    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelHead]

    /// Whether it orders each channel by itself, so that event streams have a position in each of theirs
    /// (``StreamMark/channel(_:)``), and not one order over all of them.
    var ordersEachChannel: Bool { get }

    /// The broker's totals in this process.
    var statistics: ChannelBrokerStatistics { get }
}

/// What a broker holds in this process.
public struct ChannelBrokerStatistics: Sendable, Equatable {
    /// Channels with a subscriber here, or with a history here.
    public var channels: Int
    /// What the histories here hold, in bytes.
    public var historyBytes: Int

    /// The counts.
    public init(channels: Int, historyBytes: Int) {
        self.channels = channels
        self.historyBytes = historyBytes
    }
}
