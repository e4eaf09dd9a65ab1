import DequeModule
import NIOCore

/// Entries that wait for the target, in a line for each channel, of which only the first is under way.
struct IngestLanes: Sendable {
    private struct Lane {
        var items: Deque<IngestItem> = []
        var isUnderWay = false
        var pause: RetryPause
    }

    private let pauses: ClosedRange<TimeAmount>
    private var lanes: [String: Lane] = [:]
    /// Channels whose first entry can go.
    private var ready: Deque<String> = []
    /// Channels whose first entry has to be tried again, and when.
    private var delayed: [String: NIODeadline] = [:]
    /// The earliest of those times, or an earlier one.
    private var earliest: NIODeadline?
    /// Channels whose first entry has failed and is not done yet.
    private var struggling: Set<String> = []
    /// What all entries take, in bytes.
    private(set) var bytes = 0
    /// How many entries are under way.
    private(set) var underWay = 0

    init(pauses: ClosedRange<TimeAmount>) { self.pauses = pauses }

    /// Whether something has failed and is not done yet.
    var isDelayed: Bool { !struggling.isEmpty }
    /// When something can be tried again.
    var nextDue: NIODeadline? { ready.isEmpty ? earliest : nil }

    /// Adds an entry behind the others of its channel.
    mutating func append(_ item: IngestItem) {
        let channel = item.channel
        bytes += item.bytes
        if lanes[channel] == nil { ready.append(channel) }
        lanes[channel, default: Lane(pause: RetryPause(pauses))].items.append(item)
    }

    /// Takes the next entry to publish; it stays first in its line until its result is known.
    mutating func next(at now: NIODeadline) -> IngestItem? {
        if let due = earliest, due <= now {
            for channel in delayed.filter({ $0.value <= now }).sorted(by: { $0.value < $1.value }).map(\.key) {
                delayed[channel] = nil
                ready.append(channel)
            }
            earliest = delayed.values.min()
        }
        guard let channel = ready.popFirst(), let item = lanes[channel]?.items.first else { return nil }
        lanes[channel]?.isUnderWay = true
        underWay += 1
        return item
    }

    /// The first entry of a channel is done.
    mutating func finished(_ channel: String) {
        guard var lane = lanes[channel], lane.isUnderWay, let item = lane.items.popFirst() else { return }
        bytes -= item.bytes
        underWay -= 1
        struggling.remove(channel)
        lane.isUnderWay = false
        lane.pause.reset()
        if lane.items.isEmpty {
            lanes[channel] = nil
        } else {
            lanes[channel] = lane
            ready.append(channel)
        }
    }

    /// The first entry of a channel has to be tried again.
    mutating func failed(_ channel: String, at now: NIODeadline, using generator: inout some RandomNumberGenerator) {
        guard var lane = lanes[channel], lane.isUnderWay else { return }
        underWay -= 1
        lane.isUnderWay = false
        let due = now + lane.pause.next(using: &generator)
        lanes[channel] = lane
        struggling.insert(channel)
        delayed[channel] = due
        earliest = min(earliest ?? due, due)
    }

    /// Gives up everything that is not under way.
    ///
    /// - Returns: What is given up.
    mutating func dropWaiting() -> [EntryID] {
        var dropped: [EntryID] = []
        for (channel, lane) in lanes {
            for item in lane.items.dropFirst(lane.isUnderWay ? 1 : 0) {
                dropped.append(item.id)
                bytes -= item.bytes
            }
            if lane.isUnderWay, let first = lane.items.first {
                lanes[channel]?.items = [first]
            } else {
                lanes[channel] = nil
                struggling.remove(channel)
            }
        }
        ready = []
        delayed = [:]
        earliest = nil
        return dropped
    }
}
