public import NIOCore

/// Where channels have their places and their history; over several nodes, what connects them.
///
/// Subscribers on this node are not its business: it hears of the first one of a channel and of the last, and tells
/// ``ChannelBrokerEvents`` what is published. Answers come to a callback, on any thread; a broker that can answer at once
/// does so within the call. None may block.
///
/// `ChannelBrokerConformance` in the tests says what is expected of each.
public protocol ChannelBroker: Sendable {
    /// Hears where a message is, or why it was not published.
    typealias PublishCompletion = @Sendable (Result<ChannelPosition, ChannelFailure>) -> Void

    /// Gives a message its place, keeps it if the channel has a history, and brings it to the subscribers.
    ///
    /// Publications of one caller to one channel keep their order. On this node the message is received first, if the
    /// channel is subscribed here, and then completed: whoever waits can know who got it.
    ///
    /// - Parameters:
    ///   - id: A broker that outlives this process publishes once for all calls with the same id to the same channel,
    ///     and gives each the same place. In one process the callers see to that, and the broker ignores it.
    func publish(_ envelope: ChannelEnvelope, id: String?, _ completion: PublishCompletion?)

    /// What is published to a channel from now on is received here, until ``unsubscribe(_:)``.
    ///
    /// It may be called again for a later subscriber who has missed something; one ``unsubscribe(_:)`` ends it all the same.
    ///
    /// - Parameters:
    ///   - position: The last message that the subscriber knows; nil for one who begins now.
    ///   - reader: Whose excluded messages are left out, as ``ExcludedConnection/reader`` has it; 0 for nobody's.
    ///   - completion: Hears what was missed. Messages behind it may be received before that. With `unavailable` the
    ///     subscription stands, and ``ChannelBrokerEvents/resumed(_:isComplete:)`` says when it holds.
    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition?,
        reader: UInt64,
        _ completion: (@Sendable (Result<ChannelReplay, ChannelFailure>) -> Void)?
    )

    /// Nothing of a channel is received any more.
    func unsubscribe(_ channel: ChannelName)

    /// What was published to some channels behind a cursor, in one order; only where the settings have event streams.
    ///
    /// - Parameters:
    ///   - cursor: What the client said; nil for what is no cursor.
    ///   - room: Only the newest messages that fit into so many bytes are read.
    ///   - overhead: What each of them costs there beyond its payload.
    ///   - completion: Hears it. When it cannot be known, it is incomplete.
    func replay(
        of channels: [ChannelName],
        since cursor: StreamCursor?,
        room: Int,
        overhead: Int,
        _ completion: @Sendable @escaping (Replay) -> Void
    )

    /// What is kept of a channel.
    ///
    /// - Parameter epoch: The one that the reader knows, as it is shown; nil for any.
    /// - Throws: `unknownChannel`, also for one that keeps nothing; `gone` when the epoch has changed, or the place has
    ///   fallen out.
    func history(of channel: ChannelName, _ part: HistoryPart, epoch: String?, limit: Int)
        async throws(ChannelFailure) -> ChannelHistory

    /// How far a channel has come.
    ///
    /// - Throws: `unknownChannel` when it has neither subscribers nor a history.
    func head(of channel: ChannelName) async throws(ChannelFailure) -> ChannelHead

    /// The channels whose names begin so and come after another, by name.
    func channels(prefix: String, after: String?, limit: Int) async throws(ChannelFailure) -> [ChannelHead]

    /// What it holds in this process.
    var statistics: ChannelBrokerStatistics { get }

    /// Forgets some of the messages whose time is over; called again and again.
    ///
    /// - Returns: How long until the next one is due; nil when none is.
    func removeExpired() -> TimeAmount?
}

/// What a broker tells its node, on any thread.
///
/// Events of one channel come one after the other, messages in the order of their places. They are quick, and must not
/// call the broker, which may hold a lock meanwhile.
public protocol ChannelBrokerEvents: AnyObject, Sendable {
    /// A message of a channel that is subscribed here.
    func received(_ envelope: ChannelEnvelope, at position: ChannelPosition)

    /// No more messages are at hand. It follows them soon, may stand for several, and no lock is held.
    func receiveComplete()

    /// The first node has subscribed to a channel, or the last one has left it.
    func occupancyChanged(_ channel: ChannelName, isOccupied: Bool)

    /// Nothing can be received for now.
    func interrupted()

    /// Messages of a subscribed channel are received, again or at last; also without an interruption, when the broker
    /// has noticed that some were lost.
    ///
    /// - Parameter isComplete: Whether all that were published meanwhile have been received; else some are lost.
    func resumed(_ channel: ChannelName, isComplete: Bool)
}

/// What a broker holds in this process.
public struct ChannelBrokerStatistics: Sendable, Equatable {
    /// Channels with a subscriber here, or with a history here.
    public var channels: Int
    /// What the histories here hold, in bytes.
    public var historyBytes: Int

    /// Makes one.
    public init(channels: Int, historyBytes: Int) {
        self.channels = channels
        self.historyBytes = historyBytes
    }
}

/// Why a broker cannot do what it was asked for.
public enum ChannelFailure: Error, Sendable, Equatable {
    /// There is no such channel.
    case unknownChannel
    /// What was asked for is no longer kept: the epoch has changed, or the place has fallen out.
    case gone
    /// The broker cannot be reached.
    case unavailable(String)
}
