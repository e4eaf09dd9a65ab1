import DequeModule
import NIOCore
import SidecarCore

/// Whole messages that wait for a slow client, outside of the channel so that they can still be dropped.
struct SendQueue {
    /// One message as frames; a large payload stands beside its header instead of behind it.
    struct Message {
        let header: ByteBuffer
        let payload: ByteBuffer?
        /// The channel that it was published to, if it was.
        var channel: ChannelName?
        /// Those who wait for it to be written.
        var receipts: [WriteReceipt] = []

        /// What it costs to keep: its bytes and what holds them.
        var byteCount: Int { header.readableBytes + (payload?.readableBytes ?? 0) + SendQueue.messageOverhead }

        /// The same without a payload that is a small part of a large buffer.
        var compacted: Message {
            guard let payload, payload.storageCapacity > 2 * payload.readableBytes else { return self }
            return Message(header: header, payload: ByteBuffer(bytes: payload.readableBytesView))
        }

        /// Tells those who wait for it.
        fileprivate func settleAsDropped() {
            for receipt in receipts { receipt.settle(wasWritten: false) }
        }
    }

    /// What a message in the sendQueue costs beyond its bytes, so that tiny messages are bounded too, in bytes.
    static let messageOverhead = 256

    private var messages: Deque<Message> = []

    /// What all messages that wait cost to keep, in bytes.
    private(set) var byteCount = 0

    var isEmpty: Bool { messages.isEmpty }

    mutating func append(_ message: Message) {
        messages.append(message)
        byteCount += message.byteCount
    }

    /// Lets the newest message tell when it is written; false when none waits.
    mutating func attach(_ receipt: WriteReceipt) -> Bool {
        guard let newest = messages.indices.last else { return false }
        messages[newest].receipts.append(receipt)
        return true
    }

    /// What is done about a message that has to wait.
    enum Answer { case fits, drop, close }

    /// Makes room for a message as the action says; one message may always wait.
    ///
    /// Only whole messages are dropped, and none that has begun to go out.
    ///
    /// - Parameters:
    ///   - bytesBefore: What is on its way already.
    /// - Returns: What to do with the message, and how many others were dropped for it.
    mutating func makeRoom(
        for byteCount: Int,
        of channel: ChannelName?,
        beside bytesBefore: Int,
        limit: Int,
        _ action: SlowClientAction
    ) -> (answer: Answer, dropped: Int, action: SlowClientAction) {
        var dropped = 0
        if action == .latest, let channel { dropped += removeAll(of: channel) }
        func fits() -> Bool { bytesBefore + self.byteCount + byteCount <= limit }
        if bytesBefore + self.byteCount == 0 || fits() { return (.fits, dropped, action) }
        switch action {
        case .close: return (.close, dropped, action)
        case .dropNewest, .latest: return (.drop, dropped, action)
        case .dropOldest:
            while !fits(), dropFirst() { dropped += 1 }
            return (fits() || isEmpty && bytesBefore < limit ? .fits : .drop, dropped, action)
        }
    }

    /// Drops messages until no more than `limit` is held, as the action says; none for one that drops nothing.
    ///
    /// - Returns: How many were dropped.
    mutating func shed(to limit: Int, beside bytesBefore: Int, _ action: SlowClientAction) -> Int {
        var dropped = 0
        while bytesBefore + byteCount > limit {
            switch action {
            case .close: return dropped
            case .dropOldest, .latest: if !dropFirst() { return dropped }
            case .dropNewest: if !dropLast() { return dropped }
            }
            dropped += 1
        }
        return dropped
    }

    /// Drops the newest message; false when there is none.
    private mutating func dropLast() -> Bool {
        guard let message = messages.popLast() else { return false }
        byteCount -= message.byteCount
        message.settleAsDropped()
        return true
    }

    /// Drops the oldest message; false when there is none.
    private mutating func dropFirst() -> Bool {
        guard let message = popFirst() else { return false }
        message.settleAsDropped()
        return true
    }

    /// Takes the oldest message.
    mutating func popFirst() -> Message? {
        guard let message = messages.popFirst() else { return nil }
        byteCount -= message.byteCount
        if messages.isEmpty { messages = [] }  // an idle connection keeps no storage
        return message
    }

    /// Drops what waits of a channel, and says how many messages that were.
    mutating func removeAll(of channel: ChannelName) -> Int {
        guard messages.contains(where: { $0.channel == channel }) else { return 0 }
        let before = messages.count
        for message in messages where message.channel == channel { message.settleAsDropped() }
        messages.removeAll { $0.channel == channel }
        byteCount = messages.reduce(0) { $0 + $1.byteCount }
        return before - messages.count
    }

    mutating func removeAll() -> Int {
        let dropped = messages
        messages = []
        byteCount = 0
        for message in dropped { message.settleAsDropped() }
        return dropped.count
    }
}
