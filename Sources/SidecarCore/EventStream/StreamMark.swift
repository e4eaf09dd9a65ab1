/// What one message adds to the position of the event streams that get it.
public enum StreamMark: Sendable, Equatable {
    /// A broker that gives all messages of its process one order: the message's number in it.
    case process(epoch: UInt64, sequence: UInt64)
    /// A broker that orders each channel by itself.
    case channel(ChannelMark)

    /// Whether a client that has everything up to a cursor has this message.
    public func isCovered(by cursor: StreamCursor) -> Bool {
        switch (self, cursor.place) {
        case (.process(let epoch, let sequence), .process(let other, let last)): epoch == other && sequence <= last
        case (.channel(let mark), .channels(let marks)):
            marks.contains { $0.covers(mark) }
        case (.process, .channels), (.channel, .process): false
        }
    }
}

/// A position in one channel, small enough for an event stream to carry one for each of its channels.
public struct ChannelMark: Sendable, Equatable {
    /// A hash of the channel's name (``hash(_:)``).
    public let channel: UInt32
    /// The channel's epoch; 0 in a cursor that a client has sent, which does not carry it.
    public let epoch: ChannelEpoch
    /// The offset of the message; nil while the position is not known.
    public let offset: UInt64?
    /// The first bits of the message's id, by which an offset that has come to mean another message is recognised.
    public let check: UInt32

    /// A position.
    public init(_ channel: ChannelName, epoch: ChannelEpoch, offset: UInt64, id: MessageID) {
        self.init(channel: Self.hash(channel), epoch: epoch, offset: offset, check: id.check)
    }

    /// The beginning of a subscription whose position the broker has not told yet.
    public init(unknownIn channel: ChannelName) {
        self.init(channel: Self.hash(channel), epoch: ChannelEpoch(0), offset: nil, check: 0)
    }

    init(channel: UInt32, epoch: ChannelEpoch, offset: UInt64?, check: UInt32) {
        self.channel = channel
        self.epoch = epoch
        self.offset = offset
        self.check = check
    }

    /// Whether a client that is here has another message.
    func covers(_ other: ChannelMark) -> Bool {
        guard channel == other.channel, epoch == other.epoch, let offset, let last = other.offset else { return false }
        return last <= offset
    }

    /// A channel in a cursor (FNV-1a). Two channels of one stream with the same hash share a mark, which then fits one of
    /// them at most; the other is recognised by its ``check``.
    public static func hash(_ channel: ChannelName) -> UInt32 {
        var hash: UInt32 = 0x811c_9dc5
        for byte in channel.text.utf8 { hash = (hash ^ UInt32(byte)) &* 0x0100_0193 }
        return hash
    }
}
