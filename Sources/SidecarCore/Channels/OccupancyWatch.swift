import DequeModule
public import NIOCore

/// Finds out when the app has to be told that a channel has got subscribers or lost its last one.
///
/// It compares what the app was told last with the state that has held for ``pause``; shorter changes produce no event.
/// At most one event of a channel is in flight, so that events cannot overtake each other.
public struct OccupancyWatch: Sendable {
    /// How long a state has to hold before the app is told.
    public static let pause = TimeAmount.seconds(5)

    private struct Entry {
        var isOccupied = false
        /// What the app was told last.
        var isReported = false
        /// When the change will have held for ``pause``; nil when nothing has changed since the last look.
        var dueAt: NIODeadline?
        var isInFlight = false

        /// Whether nothing is left to tell.
        var isQuiet: Bool { isOccupied == isReported && dueAt == nil && !isInFlight }
    }

    private var entries: [ChannelName: Entry] = [:]
    private var queue: Deque<(channel: ChannelName, dueAt: NIODeadline)> = []
    private var isFlushing = false
    private var undone: [OccupancyEvent] = []
    /// Whether other nodes tell the app of channels, too.
    private let isShared: Bool

    /// A watch of channels without subscribers.
    ///
    /// - Parameter isShared: Whether the changes are those of several nodes, which come to one of them each: then what
    ///   this node has told last says nothing about what the app knows, and each change is one.
    public init(isShared: Bool = false) {
        self.isShared = isShared
    }

    /// Whether an entry can be removed: with one node, when the app knows that the channel is vacated.
    private func isSettled(_ entry: Entry) -> Bool { entry.isQuiet && (isShared || !entry.isOccupied) }

    /// True when the app knows the state of all channels.
    public var isSettled: Bool { !entries.values.contains(where: isUnreported) }
    /// Channels whose change the app has yet to be told, or is being told.
    public var unreported: Int {
        entries.values.count(where: isUnreported)
    }

    private func isUnreported(_ entry: Entry) -> Bool {
        entry.isInFlight || entry.isOccupied != entry.isReported && !(isFlushing && entry.isOccupied)
    }

    /// The first subscriber has come to a channel, or the last one has gone.
    public mutating func changed(_ channel: ChannelName, isOccupied: Bool, at now: NIODeadline) {
        let dueAt = isFlushing ? now : now + Self.pause
        entries[channel, default: Entry(isReported: isShared && !isOccupied)].isOccupied = isOccupied
        entries[channel]?.dueAt = dueAt
        queue.append((channel, dueAt))
    }

    /// The next event that is due; ``reported(_:at:)`` or ``notReported(_:at:)`` has to follow.
    public mutating func next(at now: NIODeadline) -> OccupancyEvent? {
        while let first = queue.first, isFlushing || first.dueAt <= now {
            queue.removeFirst()
            guard var entry = entries[first.channel], entry.dueAt == first.dueAt else { continue }
            entry.dueAt = nil
            let isNews = entry.isOccupied != entry.isReported && !entry.isInFlight && !(isFlushing && entry.isOccupied)
            if isNews {
                entry.isReported = entry.isOccupied
                entry.isInFlight = true
            }
            entries[first.channel] = isSettled(entry) ? nil : entry
            if isShared, !isNews, entry.isQuiet {
                undone.append(OccupancyEvent(channel: first.channel, isOccupied: entry.isOccupied))
            }
            if isNews { return OccupancyEvent(channel: first.channel, isOccupied: entry.isOccupied) }
        }
        return nil
    }

    /// Takes the changes of which the app need not be told, since they were undone in time; only with several nodes.
    public mutating func takeUndone() -> [OccupancyEvent] {
        defer { undone = [] }
        return undone
    }

    /// The app could not be told; it is told later, unless the process ends or the change has been undone.
    ///
    /// - Returns: False when it will not be told.
    public mutating func notReported(_ channel: ChannelName, at now: NIODeadline) -> Bool {
        if isFlushing {
            reported(channel, at: now)
            return false
        }
        guard var entry = entries[channel] else { return false }
        entry.isInFlight = false
        entry.isReported.toggle()
        if entry.dueAt == nil, entry.isOccupied != entry.isReported {
            let dueAt = now + Self.pause
            entry.dueAt = dueAt
            queue.append((channel, dueAt))
        }
        entries[channel] = isSettled(entry) ? nil : entry
        return true
    }

    /// The app has been told, or has refused the event.
    public mutating func reported(_ channel: ChannelName, at now: NIODeadline) {
        guard var entry = entries[channel] else { return }
        entry.isInFlight = false
        if entry.dueAt == nil, entry.isOccupied != entry.isReported {
            entry.dueAt = now
            queue.prepend((channel, now))
        }
        entries[channel] = isSettled(entry) ? nil : entry
    }

    /// The process ends: from now on the app is told at once of channels that lose their last subscriber, and of
    /// nothing else.
    public mutating func flush() { isFlushing = true }
}
