import DequeModule
import NIOCore
import SidecarCore

/// The last messages of a subscribed channel with a history, so that those who return need not ask the engine.
struct RecentMessages {
    /// The most messages of one channel.
    static let most = 256
    /// What a message counts for beyond its payload, in bytes.
    static let overhead = 200

    private var messages: Deque<MessageFrame> = []
    private(set) var bytes = 0

    /// Adds a message; the others are dropped unless it follows them.
    ///
    /// - Parameters:
    ///   - limit: The most messages, as the history has.
    ///   - room: The most bytes.
    mutating func append(_ frame: MessageFrame, limit: Int, room: Int) {
        if let last = messages.last, !frame.follows(last.point) { clear() }
        messages.append(frame)
        bytes += Self.bytes(of: frame)
        while messages.count > min(limit, Self.most) || bytes > room, let first = messages.popFirst() {
            bytes -= Self.bytes(of: first)
        }
    }

    /// Drops all.
    mutating func clear() {
        messages = []
        bytes = 0
    }

    /// The messages after a known one; nil when not all of them are here.
    ///
    /// - Parameter oldest: When a message is too old to be kept, in milliseconds since 1970.
    func after(_ known: KnownPoint, oldest: Int64) -> Deque<MessageFrame>.SubSequence? {
        guard let first = messages.first, known.offset >= first.point.offset &- 1 else { return nil }
        // Each follows the one before it.
        guard let skipped = Int(exactly: known.offset &- (first.point.offset &- 1)), skipped < messages.count else {
            return nil
        }
        let next = messages[skipped]
        guard known.isPredecessor(of: next), next.time >= oldest else { return nil }
        return messages[skipped...]
    }

    private static func bytes(of frame: MessageFrame) -> Int { frame.body.payload.readableBytes + overhead }
}

/// What a returning subscriber knows of its last message.
struct KnownPoint: Sendable, Equatable {
    /// Nil for a cursor, which does not carry it.
    let epoch: ChannelEpoch?
    let offset: UInt64
    /// The id, or its first digits.
    let id: String

    init(_ position: ChannelPosition) {
        epoch = position.epoch
        offset = position.offset
        id = position.id.description
    }

    /// Nil while the position is not known.
    init?(_ mark: ChannelMark) {
        guard let offset = mark.offset else { return nil }
        epoch = nil
        self.offset = offset
        let digits = String(mark.check, radix: 16)
        id = String(repeating: "0", count: max(0, 8 - digits.utf8.count)) + digits
    }

    /// Whether it is the last message of a channel.
    func matches(_ point: ChannelPoint) -> Bool {
        offset == point.offset && epoch ?? point.epoch == point.epoch && point.id.description.hasPrefix(id)
    }

    /// Whether it is the one before a message.
    func isPredecessor(of frame: MessageFrame) -> Bool {
        offset &+ 1 == frame.point.offset && epoch ?? frame.point.epoch == frame.point.epoch
            && frame.predecessor.description.hasPrefix(id)
    }
}
