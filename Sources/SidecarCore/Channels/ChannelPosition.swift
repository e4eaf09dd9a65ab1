/// Tells the counts of a channel's messages apart: another one holds when what came before was lost.
public struct ChannelEpoch: Sendable, Hashable, CustomStringConvertible {
    /// Random bits.
    public let bits: UInt64

    /// Makes one.
    public init(_ bits: UInt64) {
        self.bits = bits
    }

    /// As users see it.
    public var description: String { String(bits, radix: 36) }
}

/// The place of a message in its channel.
///
/// Only the broker that gave it knows what it means; others show it, and hand it back.
public struct ChannelPosition: Sendable, Equatable {
    /// Grows with each message of the channel; not by one in every broker.
    public let offset: UInt64
    /// Changes when the count begins anew, since what came before was lost.
    public let epoch: ChannelEpoch
    /// Its place among all publications, for event streams.
    public let cursor: StreamCursor

    /// Makes one.
    public init(offset: UInt64, epoch: ChannelEpoch, cursor: StreamCursor) {
        self.offset = offset
        self.epoch = epoch
        self.cursor = cursor
    }
}

/// How far a channel has come.
public struct ChannelHead: Sendable, Equatable {
    /// Its name.
    public let channel: ChannelName
    /// The place of its last message.
    public let position: ChannelPosition

    /// Makes one.
    public init(channel: ChannelName, position: ChannelPosition) {
        self.channel = channel
        self.position = position
    }
}

/// What a channel is like now.
public struct ChannelSummary: Sendable, Equatable {
    /// Its name.
    public let channel: ChannelName
    /// How many connections have subscribed to it.
    public let connections: Int
    /// The place of its last message.
    public let position: ChannelPosition

    /// Makes one.
    public init(_ head: ChannelHead, connections: Int) {
        channel = head.channel
        position = head.position
        self.connections = connections
    }
}
