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
