/// Identifies one run of a channel's offsets: it changes when they start again because earlier messages were lost.
public struct ChannelEpoch: Sendable, Hashable, CustomStringConvertible {
    /// Random bits.
    public let bits: UInt64

    /// Makes one.
    public init(_ bits: UInt64) {
        self.bits = bits
    }

    /// As shown to users.
    public var description: String { String(bits, radix: 36) }
}

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

/// A channel and the position of its last message.
public struct ChannelHead: Sendable, Equatable {
    /// The channel's name.
    public let channel: ChannelName
    /// The position of its last message.
    public let position: ChannelPosition

    /// Makes one.
    public init(channel: ChannelName, position: ChannelPosition) {
        self.channel = channel
        self.position = position
    }
}

/// A channel as the API lists it.
public struct ChannelSummary: Sendable, Equatable {
    /// The channel's name.
    public let channel: ChannelName
    /// How many connections have subscribed to it.
    public let connections: Int
    /// The position of its last message.
    public let position: ChannelPosition

    /// The head of a channel with the number of its connections.
    public init(_ head: ChannelHead, connections: Int) {
        channel = head.channel
        position = head.position
        self.connections = connections
    }
}
