import DequeModule
import Synchronization

/// Limits what all histories of a process hold together, in bytes.
///
/// It has one lock for all channels, taken in addition to the lock of the channel concerned.
final class HistoryBudget: Sendable {
    /// What a message costs beyond its payload, in bytes.
    static let messageOverhead = 160
    /// How many ledger entries are tidied for each message that is kept.
    private static let tidiedAtOnce = 8

    private let maxBytes: Int
    /// The order in which messages are dropped.
    private let ledger = Mutex(HistoryLedger())
    private let byteCount = Atomic<Int>(0)
    private let keptCount = Atomic<Int>(0)

    init(maxBytes: Int) {
        self.maxBytes = maxBytes
    }

    /// What the histories hold, in bytes.
    var bytes: Int { byteCount.load(ordering: .relaxed) }
    /// The earliest expiry of any kept message; nil when none is kept.
    var nextExpiry: Int64? { ledger.withLock { $0.nextExpiry } }
    /// The number of ledger entries; for tests.
    var ledgerCount: Int { ledger.withLock { $0.count } }

    // MARK: One channel, whose lock is held

    /// Keeps a message, and drops the channel's oldest ones beyond its limit.
    func keep(
        _ kept: KeptMessage,
        in channel: inout MemoryChannel,
        _ name: ChannelName,
        _ limits: (size: Int, ttl: Int64)
    ) {
        channel.kept.append(kept)
        byteCount.wrappingAdd(kept.bytes, ordering: .relaxed)
        keptCount.wrappingAdd(1, ordering: .relaxed)
        while channel.kept.count > limits.size { dropFirst(of: &channel) }
        let entry = HistoryLedger.Entry(
            channel: name,
            epoch: channel.epoch,
            offset: kept.message.offset,
            sequence: kept.sequence,
            expiresAt: kept.expiresAt
        )
        ledger.withLock { $0.append(entry, ttl: limits.ttl) }
    }

    /// Drops the expired messages of a channel.
    func expire(_ channel: inout MemoryChannel, _ now: Int64) {
        while let first = channel.kept.first, first.expiresAt <= now { dropFirst(of: &channel) }
    }

    private func dropFirst(of channel: inout MemoryChannel) {
        guard let first = channel.kept.popFirst() else { return }
        channel.lostUpTo = first.sequence
        byteCount.wrappingSubtract(first.bytes, ordering: .relaxed)
        keptCount.wrappingSubtract(1, ordering: .relaxed)
    }

    // MARK: All channels, whose locks are not held

    /// Drops one expired message, with the others of its channel.
    ///
    /// - Returns: Whether there was one.
    func expireNext(in table: MemoryChannelTable, _ now: Int64) -> Bool {
        guard let due = ledger.withLock({ $0.popExpired(now) }) else { return false }
        table.update(due.channel) { channel in
            if channel.epoch == due.epoch { expire(&channel, now) }
        }
        return true
    }

    /// Drops messages until the histories fit into their bytes, and tidies the ledger when it has grown out of
    /// proportion.
    func enforce(in table: MemoryChannelTable) {
        while bytes > maxBytes, let next = ledger.withLock({ $0.popOldest() }) {
            table.update(next.channel) { channel in
                guard channel.epoch == next.epoch else { return }
                while let first = channel.kept.first?.message.offset, first <= next.offset { dropFirst(of: &channel) }
            }
        }
        let limit = 2 * keptCount.load(ordering: .relaxed) + 4096
        for _ in 0..<Self.tidiedAtOnce {
            guard let (entry, ttl) = ledger.withLock({ $0.nextToTidy(above: limit) }) else { return }
            var isKept = false
            table.update(entry.channel) { channel in
                guard channel.epoch == entry.epoch else { return }
                isKept = channel.kept.first.map { $0.message.offset <= entry.offset } == true
            }
            if isKept { ledger.withLock { $0.keep(entry, ttl: ttl) } }
        }
    }
}
