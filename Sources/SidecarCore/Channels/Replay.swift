import DequeModule
import NIOCore

/// A message in a history.
struct KeptMessage: Sendable {
    let message: StoredMessage
    let expiresAt: Int64
    /// Its place among all messages of the process.
    let sequence: UInt64
    /// Whose stream does not get it (``StreamCursor/reader(_:)``); 0 for nobody's.
    let excluded: UInt64

    /// What it costs to keep.
    var bytes: Int { message.payload.readableBytes + HistoryBudget.messageOverhead }
}

/// What a stream that comes again has missed.
public struct Replay: Sendable, Equatable {
    /// How many messages are looked at, with those that the stream does not get.
    static let mostLookedAt = 16_384

    /// The messages, in their order, with their places.
    public var messages: [(cursor: StreamCursor, message: StoredMessage)]
    /// Whether all that was published since is among them.
    public var isComplete: Bool
    /// Everything up to here has been said.
    public var upTo: StreamCursor

    /// By places.
    public static func == (one: Replay, other: Replay) -> Bool {
        one.isComplete == other.isComplete && one.upTo == other.upTo
            && one.messages.map(\.message) == other.messages.map(\.message)
    }

    /// Reads several histories from their ends, the newest message first, until nothing more fits.
    ///
    /// - Parameters:
    ///   - room: How many bytes there is room for.
    ///   - overhead: What each message costs beyond its payload.
    /// - Returns: How many messages were looked at.
    mutating func takeNewest(
        of histories: [Deque<KeptMessage>],
        since cursor: StreamCursor,
        room: Int,
        overhead: Int
    ) -> Int {
        var room = room
        var ends = histories.map(\.count)
        var looks = 0
        var newestFirst: [(cursor: StreamCursor, message: StoredMessage)] = []
        while true {
            var newest: (history: Int, place: UInt64)?
            for index in histories.indices where ends[index] > 0 {
                let place = histories[index][ends[index] - 1].sequence
                if place > max(newest?.place ?? 0, cursor.sequence) { newest = (index, place) }
            }
            guard let newest else { break }
            ends[newest.history] -= 1
            let kept = histories[newest.history][ends[newest.history]]
            looks += 1
            let isExcluded = cursor.reader != 0 && kept.excluded == cursor.reader
            if !isExcluded { room -= kept.message.payload.readableBytes + overhead }
            guard room >= 0, looks < Self.mostLookedAt else {
                isComplete = false
                break
            }
            if isExcluded { continue }
            newestFirst.append((StreamCursor(epoch: upTo.epoch, sequence: kept.sequence), kept.message))
        }
        messages = newestFirst.reversed()
        return looks
    }
}
