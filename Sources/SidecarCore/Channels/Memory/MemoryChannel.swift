import DequeModule

/// A channel as ``MemoryChannelBroker`` keeps it.
struct MemoryChannel: Sendable {
    var offset: UInt64 = 0
    let epoch: ChannelEpoch
    var isSubscribed = false
    /// The kept messages, whose offsets have no gaps.
    var kept: Deque<KeptMessage> = []
    /// The sequence of the process when it was created, which is before that of its first message.
    let createdAt: UInt64
    /// The sequence of its last message that is no longer kept.
    var lostUpTo: UInt64 = 0

    /// The sequence of its last message.
    var last: UInt64 { kept.last?.sequence ?? lostUpTo }

    /// Whether it can be removed: it has neither subscribers nor a history.
    var isEmpty: Bool { !isSubscribed && kept.isEmpty }

    /// The messages after an offset; nil when some of them are not kept, or the offset lies ahead.
    func kept(after offset: UInt64?) -> Deque<KeptMessage>.SubSequence? {
        let first = self.offset &- UInt64(kept.count) &+ 1
        let before = offset ?? first &- 1
        guard before <= self.offset, before + 1 >= first else { return nil }
        return kept[Int(before + 1 - first)...]
    }
}
