public import NIOCore

/// A message for a channel.
public struct Publication: Sendable, Equatable {
    /// Where it goes.
    public let channel: ChannelName
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// Makes one.
    public init(channel: ChannelName, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.channel = channel
        self.format = format
        self.payload = payload
        self.event = event
    }
}

/// The place of a message in its channel.
public struct ChannelPosition: Sendable, Equatable {
    /// Counts the messages of the channel from 1 on.
    public let offset: UInt64
    /// Changes when the count begins anew, since what came before was lost.
    public let epoch: String
    /// Its place among all publications of the process, for event streams.
    public let cursor: StreamCursor

    /// Makes one.
    public init(offset: UInt64, epoch: String, cursor: StreamCursor = StreamCursor(epoch: 0, sequence: 0)) {
        self.offset = offset
        self.epoch = epoch
        self.cursor = cursor
    }
}

/// A message that is kept.
public struct StoredMessage: Sendable, Equatable {
    /// Its place.
    public let offset: UInt64
    /// When it was published, in milliseconds since 1970.
    public let time: Int64
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The event type on event streams; nil for the usual one.
    public let event: String?

    /// Makes one.
    public init(offset: UInt64, time: Int64, format: MessageFormat, payload: ByteBuffer, event: String? = nil) {
        self.offset = offset
        self.time = time
        self.format = format
        self.payload = payload
        self.event = event
    }
}

/// What is kept of a channel after some place.
public struct ChannelHistory: Sendable, Equatable {
    /// The epoch of the places.
    public let epoch: String
    /// The messages, oldest first.
    public let messages: [StoredMessage]
}

/// Which part of a history is read.
public enum HistoryPart: Sendable, Equatable {
    /// The oldest messages behind a place; nil for those from the beginning on.
    case after(UInt64?)
    /// The newest messages.
    case newest
}

/// What a channel is like now.
public struct ChannelSummary: Sendable, Equatable {
    /// Its name.
    public let channel: ChannelName
    /// How many connections have subscribed to it.
    public let connections: Int
    /// The place of its last message.
    public let position: ChannelPosition
}

/// Why an broker cannot do what it was asked for.
public enum ChannelFailure: Error, Sendable, Equatable {
    /// There is no such channel.
    case unknownChannel
    /// What was asked for is no longer kept: the epoch has changed, or the place has fallen out.
    case gone
    /// The broker cannot be reached.
    case unavailable(String)
}

/// Where channels have their places, their history and their members.
///
/// The form in memory answers at once. Another one may take its time or fail, so answers come to a callback, on any thread.
public protocol ChannelBroker: Sendable {
    /// Gives a message its place and keeps it if the channel has a history.
    ///
    /// - Parameters:
    ///   - reader: Whose stream does not get it, as ``StreamCursor/reader(_:)`` has it; nil for nobody's.
    ///   - now: Monotonic nanoseconds.
    ///   - deliver: Called in the order of the places, with the event loops that have subscribers; it must not call the
    ///     broker.
    func publish(
        _ publication: Publication,
        excluding reader: UInt64?,
        now: Int64,
        unixMilliseconds: Int64,
        deliver: (Result<ChannelPosition, ChannelFailure>, LoopSet) -> Void
    )

    /// A connection of this event loop has joined or left a channel.
    ///
    /// - Parameter isEdge: Whether it was the first one there, or the last.
    func changed(_ channel: ChannelName, by change: MembershipChange, onLoop loop: Int, isEdge: Bool)

    /// What is kept of a channel.
    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int,
        now: Int64
    ) async throws(ChannelFailure) -> ChannelHistory

    /// One channel.
    func summary(of channel: ChannelName, now: Int64) async throws(ChannelFailure) -> ChannelSummary

    /// The channels whose names begin so, by name.
    func channels(prefix: String, after: String?, limit: Int, now: Int64) async throws(ChannelFailure)
        -> [ChannelSummary]
}

/// Whether a connection came or went.
public enum MembershipChange: Sendable, Equatable {
    case joined
    case left
}

/// A set of event loops, by number; loops beyond the 63rd share one place.
public struct LoopSet: Sendable, Equatable {
    var bits: UInt64 = 0

    /// No loops.
    public init() {}

    /// Whether this loop is in it.
    public func contains(_ loop: Int) -> Bool { bits & Self.bit(loop) != 0 }

    /// Whether it has none.
    public var isEmpty: Bool { bits == 0 }

    static func bit(_ loop: Int) -> UInt64 { 1 << UInt64(min(max(loop, 0), 63)) }
}
