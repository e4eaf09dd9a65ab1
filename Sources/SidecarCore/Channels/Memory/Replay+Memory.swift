import DequeModule
import NIOCore

/// A replay from histories in memory.
extension Replay {
    /// How many messages are examined at most, including those that the stream does not get.
    static let mostLookedAt = 16_384

    /// Reads several histories from their ends, the newest message first, until nothing more fits.
    ///
    /// - Parameters:
    ///   - room: The bytes that may be used.
    ///   - overhead: What each message costs beyond its payload, in bytes.
    /// - Returns: How many messages were examined.
    mutating func takeNewest(
        of histories: [Deque<KeptMessage>],
        since known: UInt64,
        by reader: UInt64,
        room: Int,
        overhead: Int,
        epoch: UInt64
    ) -> Int {
        var room = room
        var ends = histories.map(\.count)
        var looks = 0
        var newestFirst: [Message] = []
        while true {
            var newest: (history: Int, sequence: UInt64)?
            for index in histories.indices where ends[index] > 0 {
                let sequence = histories[index][ends[index] - 1].sequence
                if sequence > max(newest?.sequence ?? 0, known) { newest = (index, sequence) }
            }
            guard let newest else { break }
            ends[newest.history] -= 1
            let kept = histories[newest.history][ends[newest.history]]
            looks += 1
            let isExcluded = reader != 0 && kept.excluded == reader
            if !isExcluded { room -= kept.message.payload.readableBytes + overhead }
            guard room >= 0, looks < Self.mostLookedAt else {
                isComplete = false
                break
            }
            if isExcluded { continue }
            newestFirst.append(
                Message(mark: .process(epoch: epoch, sequence: kept.sequence), message: kept.message)
            )
        }
        messages = newestFirst.reversed()
        return looks
    }
}
