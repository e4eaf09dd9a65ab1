/// A set of event loops, by number; loops beyond the 63rd share one bit.
public struct LoopSet: Sendable, Equatable {
    /// One bit for each loop.
    public private(set) var bits: UInt64

    /// A set with these bits; empty by default.
    public init(bits: UInt64 = 0) {
        self.bits = bits
    }

    /// Whether this loop is in it.
    public func contains(_ loop: Int) -> Bool { bits & Self.bit(loop) != 0 }

    /// Whether it has none.
    public var isEmpty: Bool { bits == 0 }

    /// Adds a loop.
    public mutating func insert(_ loop: Int) { bits |= Self.bit(loop) }

    /// Removes a loop, unless it shares its bit with others that may still need it.
    mutating func removeUnlessShared(_ loop: Int) {
        if loop < 63 { bits &= ~Self.bit(loop) }
    }

    private static func bit(_ loop: Int) -> UInt64 { 1 << UInt64(min(max(loop, 0), 63)) }
}

/// Which event loops of this node have subscribers of a channel, and how many those are.
public struct LoopTable: Sendable {
    private struct Entry {
        var loops = LoopSet()
        var connections = 0
    }

    private var entries: [ChannelName: Entry] = [:]

    /// A table without subscribers.
    public init() {}

    /// A connection of a loop has joined a channel.
    ///
    /// - Returns: Whether it is the first one on the node.
    public mutating func joined(_ channel: ChannelName, onLoop loop: Int) -> Bool {
        func add(_ entry: inout Entry) -> Bool {
            entry.loops.insert(loop)
            entry.connections += 1
            return entry.connections == 1
        }
        return add(&entries[channel, default: Entry()])
    }

    /// A connection of a loop has left a channel.
    ///
    /// - Parameter isLastOfLoop: Whether no other connection of this loop is in it.
    /// - Returns: Whether it was the last one on the node.
    public mutating func left(_ channel: ChannelName, onLoop loop: Int, isLastOfLoop: Bool) -> Bool {
        guard let index = entries.index(forKey: channel) else { return false }
        entries.values[index].connections -= 1
        if entries.values[index].connections == 0 {
            entries.remove(at: index)
            return true
        }
        if isLastOfLoop { entries.values[index].loops.removeUnlessShared(loop) }
        return false
    }

    /// The loops with subscribers of a channel.
    public func loops(of channel: ChannelName) -> LoopSet { entries[channel]?.loops ?? LoopSet() }

    /// How many connections have subscribed to a channel.
    public func connections(in channel: ChannelName) -> Int { entries[channel]?.connections ?? 0 }
}
