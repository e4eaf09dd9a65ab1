import DequeModule
import NIOCore
import SidecarCore

/// The send queue of a slow client: whole messages, kept outside of the channel so that they can still be dropped.
struct SendQueue {
    /// One message as frames; a large payload is kept separately from its header.
    struct Message {
        let header: ByteBuffer
        let payload: ByteBuffer?
        /// The channel that it was published to, if it was.
        var channel: ChannelName?
        /// The publication itself, or the last one that is missing; only where the client is told of gaps.
        var delivery: ChannelDelivery?
        /// Whether it tells the client that messages of the channel are missing.
        fileprivate(set) var isGap = false
        /// Receipts that wait for it to be written.
        var receipts: [WriteReceipt] = []

        /// What it counts for: its bytes and what holds them.
        var byteCount: Int { header.readableBytes + (payload?.readableBytes ?? 0) + SendQueue.messageOverhead }

        /// A copy without a payload that is a small part of a large buffer.
        var compacted: Message {
            guard let payload, payload.storageCapacity > 2 * payload.readableBytes else { return self }
            return Message(header: header, payload: ByteBuffer(bytes: payload.readableBytesView))
        }
    }

    /// What a waiting message counts for beyond its bytes, in bytes, so that tiny messages are bounded too.
    static let messageOverhead = 256

    private var messages: Deque<Message> = []
    /// How the client is told that messages of a channel are missing; nil where it cannot be. Then only what was
    /// published to a channel is dropped.
    private let gaps: MessageCodec?

    init(tellingGapsIn gaps: MessageCodec? = nil) {
        self.gaps = gaps
    }

    /// What all waiting messages count for, in bytes.
    private(set) var byteCount = 0

    var isEmpty: Bool { messages.isEmpty }

    mutating func append(_ message: Message) {
        messages.append(message)
        byteCount += message.byteCount
    }

    /// Attaches a receipt to the newest message; false when none waits.
    mutating func attach(_ receipt: WriteReceipt) -> Bool {
        guard let newest = messages.indices.last else { return false }
        messages[newest].receipts.append(receipt)
        return true
    }

    /// What is done with a message that has to wait.
    enum Answer { case fits, drop, close }

    /// Makes room for a message as the action says; a single message may always wait.
    ///
    /// Only whole messages are dropped, and none that has begun to go out.
    ///
    /// - Parameters:
    ///   - bytesBefore: The bytes that are already on their way.
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
        // A message to the client alone is not dropped where its number would be missing.
        let isKept = gaps != nil && channel == nil
        switch action {
        case .close: return (.close, dropped, action)
        case .dropNewest where !isKept, .latest where !isKept: return (.drop, dropped, action)
        case .dropNewest, .latest, .dropOldest:
            while !fits(), dropFirst() { dropped += 1 }
            if fits() || isEmpty && bytesBefore < limit { return (.fits, dropped, action) }
            // What is left are messages that are not dropped, and gaps, one for each channel.
            let isHopeless = isKept || gaps != nil && self.byteCount > 2 * limit
            return (isHopeless ? .close : .drop, dropped, action)
        }
    }

    /// A message of a channel was dropped before it came into the queue.
    mutating func noteMissing(_ delivery: ChannelDelivery) {
        guard let gaps else { return }
        let last = messages.lastIndex { $0.channel == delivery.channel }
        if let last, messages[last].isGap {
            replace(last, by: Self.gap(at: delivery, gaps))
        } else {
            append(Self.gap(at: delivery, gaps))
        }
    }

    private static func gap(at delivery: ChannelDelivery, _ codec: MessageCodec) -> Message {
        let frame = (codec.encoding ?? .json).write(.gap(delivery.channel, delivery.position))
        var message = Message(header: codec.wrap(frame), payload: nil)
        message.channel = delivery.channel
        message.delivery = delivery
        message.isGap = true
        return message
    }

    private mutating func replace(_ index: Int, by message: Message) {
        byteCount += message.byteCount - messages[index].byteCount
        messages[index] = message
    }

    /// Drops messages until at most `limit` is held, as the action says; none if the action drops nothing.
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

    /// Drops the newest message; false when there is none that may be dropped.
    private mutating func dropLast() -> Bool {
        guard let gaps else {
            guard let message = messages.popLast() else { return false }
            byteCount -= message.byteCount
            message.receipts.settleAsDropped()
            return true
        }
        guard let index = messages.lastIndex(where: { $0.delivery != nil && !$0.isGap }) else { return false }
        drop(index, gaps)
        return true
    }

    /// Drops the oldest message; false when there is none that may be dropped.
    private mutating func dropFirst() -> Bool {
        guard let gaps else {
            guard let message = popFirst() else { return false }
            message.receipts.settleAsDropped()
            return true
        }
        guard let index = messages.firstIndex(where: { $0.delivery != nil && !$0.isGap }) else { return false }
        drop(index, gaps)
        return true
    }

    /// Drops a publication, and tells the client so: once for a run of them.
    private mutating func drop(_ index: Int, _ gaps: MessageCodec) {
        let message = messages[index]
        message.receipts.settleAsDropped()
        guard let delivery = message.delivery else { return }
        let before = messages[..<index].lastIndex { $0.channel == delivery.channel }
        let after = messages[(index + 1)...].firstIndex { $0.channel == delivery.channel }
        let isBehindGap = before.map { messages[$0].isGap } ?? false
        if let after, messages[after].isGap {
            remove(at: index)
            if let before, isBehindGap { remove(at: before) }
        } else if let before, isBehindGap {
            replace(before, by: Self.gap(at: delivery, gaps))
            remove(at: index)
        } else {
            replace(index, by: Self.gap(at: delivery, gaps))
        }
    }

    private mutating func remove(at index: Int) { byteCount -= messages.remove(at: index).byteCount }

    /// Takes the oldest message.
    mutating func popFirst() -> Message? {
        guard let message = messages.popFirst() else { return nil }
        byteCount -= message.byteCount
        if messages.isEmpty { messages = [] }  // so that an idle connection keeps no storage
        return message
    }

    /// Drops the waiting messages of a channel, and returns their number.
    mutating func removeAll(of channel: ChannelName) -> Int {
        guard messages.contains(where: { $0.channel == channel && !$0.isGap }) else { return 0 }
        let before = messages.count
        for message in messages where message.channel == channel { message.receipts.settleAsDropped() }
        messages.removeAll { $0.channel == channel && !$0.isGap }
        byteCount = messages.reduce(0) { $0 + $1.byteCount }
        return before - messages.count
    }

    /// Takes all messages.
    mutating func takeAll() -> [Message] {
        defer { (messages, byteCount) = ([], 0) }
        return Array(messages)
    }

    mutating func removeAll() -> Int {
        let dropped = messages
        messages = []
        byteCount = 0
        for message in dropped { message.receipts.settleAsDropped() }
        return dropped.count { !$0.isGap }
    }
}
