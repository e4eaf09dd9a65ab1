import DequeModule
public import NIOCore

/// What the app is told of a channel (`CHANNEL_EVENTS`).
public struct OccupancyEvent: Sendable, Equatable {
    /// The channel.
    public let channel: ChannelName
    /// Whether it has subscribers now; else it has none any more.
    public let isOccupied: Bool
}

/// Finds out when the app has to be told that a channel has subscribers, or has none any more.
///
/// It compares what the app was told last with what has been so for ``pause``; whatever came and went in between is no
/// event. At most one event of a channel is under way, so that they cannot overtake each other.
public struct OccupancyWatch: Sendable {
    /// How long a channel has to stay as it is before the app hears of it.
    public static let pause = TimeAmount.seconds(5)

    private struct Entry {
        var isOccupied = false
        /// What the app was told last.
        var isTold = false
        /// When it will have been so for long enough; nil when nothing has changed since somebody looked.
        var dueAt: NIODeadline?
        var isUnderWay = false

        /// The app knows, and there is nothing to remember.
        var isSettled: Bool { !isOccupied && !isTold && dueAt == nil && !isUnderWay }
    }

    private var entries: [ChannelName: Entry] = [:]
    private var queue: Deque<(channel: ChannelName, dueAt: NIODeadline)> = []
    private var isFlushing = false

    /// Nobody is anywhere, and the app knows.
    public init() {}

    /// True when the app knows everything.
    public var isSettled: Bool { !entries.values.contains(where: isUntold) }
    /// Channels of which the app has to be told, or is being told.
    public var untold: Int {
        entries.values.count(where: isUntold)
    }

    private func isUntold(_ entry: Entry) -> Bool {
        entry.isUnderWay || entry.isOccupied != entry.isTold && !(isFlushing && entry.isOccupied)
    }

    /// The first subscriber has come to a channel, or the last one has gone.
    public mutating func changed(_ channel: ChannelName, isOccupied: Bool, at now: NIODeadline) {
        let dueAt = isFlushing ? now : now + Self.pause
        entries[channel, default: Entry()].isOccupied = isOccupied
        entries[channel]?.dueAt = dueAt
        queue.append((channel, dueAt))
    }

    /// The next event that is due; ``told(_:at:)`` or ``notTold(_:at:)`` has to follow.
    public mutating func next(at now: NIODeadline) -> OccupancyEvent? {
        while let first = queue.first, isFlushing || first.dueAt <= now {
            queue.removeFirst()
            guard var entry = entries[first.channel], entry.dueAt == first.dueAt else { continue }
            entry.dueAt = nil
            let isNews = entry.isOccupied != entry.isTold && !entry.isUnderWay && !(isFlushing && entry.isOccupied)
            if isNews {
                entry.isTold = entry.isOccupied
                entry.isUnderWay = true
            }
            entries[first.channel] = entry.isSettled ? nil : entry
            if isNews { return OccupancyEvent(channel: first.channel, isOccupied: entry.isOccupied) }
        }
        return nil
    }

    /// The app could not be reached; it is told later, unless the process ends or nothing is new any more.
    ///
    /// - Returns: False when it will not be told.
    public mutating func notTold(_ channel: ChannelName, at now: NIODeadline) -> Bool {
        if isFlushing {
            told(channel, at: now)
            return false
        }
        guard var entry = entries[channel] else { return false }
        entry.isUnderWay = false
        entry.isTold.toggle()
        if entry.dueAt == nil, entry.isOccupied != entry.isTold {
            let dueAt = now + Self.pause
            entry.dueAt = dueAt
            queue.append((channel, dueAt))
        }
        entries[channel] = entry.isSettled ? nil : entry
        return true
    }

    /// The app has been told, or does not want to be.
    public mutating func told(_ channel: ChannelName, at now: NIODeadline) {
        guard var entry = entries[channel] else { return }
        entry.isUnderWay = false
        if entry.dueAt == nil, entry.isOccupied != entry.isTold {
            entry.dueAt = now
            queue.prepend((channel, now))
        }
        entries[channel] = entry.isSettled ? nil : entry
    }

    /// From now on the app hears at once of channels that lose their subscribers, and of no others, since the process
    /// ends.
    public mutating func flush() { isFlushing = true }
}
