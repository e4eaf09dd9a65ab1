import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The owner of an output, which is told when its client does not keep up.
protocol ClientOutputOwner: AnyObject {
    /// A limit was met; `action` is what was done, when it was the client's own limit.
    func noteLimited(by kind: RefusalKind, _ action: SlowClientAction?)
    /// Close the connection because the client reads too slowly.
    func closeAsTooSlow()
    /// Nothing waits any more.
    func outputIsClear()
}

/// The output to one client: bytes that go out at once, and a send queue of whole messages for when the socket takes
/// none.
///
/// It knows neither frames nor events, only bytes and what they count for. It is one object together with the output of
/// the socket that every connection has, so idle connections need no second one.
///
/// Sending a message this way costs no closure, and encodes only what is sent:
///
/// ```swift
/// if output.isClear {
///     output.send(encoded)
/// } else if output.makeRoom(for: payload.readableBytes) {
///     output.append(encoded)
/// }
/// ```
final class ClientOutput: SocketOutput, SendBufferHolder {
    private let owner: any ClientOutputOwner
    private let buffers: SendBuffers
    private var queue: SendQueue
    private var accountedBytes = 0
    /// When bytes were last sent.
    private(set) var sentAt = NIODeadline.now()
    /// True once the client was to be closed for not reading; it then gets no more time.
    private(set) var isTooSlow = false
    private var isFinished = false

    /// - Parameter codec: What its messages look like.
    init(owner: any ClientOutputOwner, codec: MessageCodec, flushes: FlushQueue, buffers: SendBuffers) {
        queue = SendQueue(tellingGapsIn: codec.encoding == nil ? nil : codec)
        self.owner = owner
        self.buffers = buffers
        super.init(queue: flushes)
    }

    // MARK: Bytes

    /// Sends bytes ahead of the queue.
    func sendAtOnce(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        write(bytes, rest)
        wrote(bytes.readableBytes + (rest?.readableBytes ?? 0))
    }

    private func wrote(_ byteCount: Int) {
        sentAt = .now()
        buffers.metrics.outgoing.wireBytes.increment(by: byteCount)
    }

    // MARK: Messages

    /// True when a message can be sent at once.
    var isClear: Bool { isWritable && queue.isEmpty }

    /// Sends a message while the output is clear.
    func send(_ message: SendQueue.Message) {
        sendAtOnce(message.header, message.payload)
        noteUntaken()
    }

    /// The same with what `body` composes, in memory that is reused.
    func send(composedBy body: (inout ByteBuffer) -> Void) {
        wrote(compose(body))
        noteUntaken()
    }

    private func noteUntaken() {
        if !isWritable { accountUnsent(unsentBytes) }
    }

    /// Decides whether a message may wait, since a client that does not read may not hold more than its limit.
    ///
    /// - Parameters:
    ///   - payloadBytes: The size of the message.
    ///   - channel: The channel that it was published to, if it was.
    ///   - delivery: The publication itself; only where the client is told of gaps.
    ///   - action: What is done to make room; nil: as `SLOW_CLIENT_ACTION` says.
    /// - Returns: False when the message is dropped; this has been counted.
    func makeRoom(
        for payloadBytes: Int,
        of channel: ChannelName? = nil,
        in delivery: ChannelDelivery? = nil,
        _ action: SlowClientAction? = nil
    ) -> Bool {
        let byteCount = payloadBytes + SendQueue.messageOverhead
        let limits = buffers.limits
        let decision = queue.makeRoom(
            for: byteCount,
            of: channel,
            beside: untakenBytes,
            limit: buffers.allowance(upTo: limits.maxBytes, adding: byteCount),
            action ?? limits.action
        )
        if decision.dropped > 0 || decision.answer != .fits { owner.noteLimited(by: .sendBuffer, decision.action) }
        countDropped(decision.dropped, decision.action)
        switch decision.answer {
        case .fits: return true
        case .drop:
            countDropped(1, decision.action)
            if let delivery {
                queue.noteMissing(delivery)
                accountUnsent(unsentBytes)
            }
            return false
        case .close:
            buffers.metrics.messagesDropped(1, reason: .slowClient)
            closeAsTooSlow()
            accountUnsent(unsentBytes)
            return false
        }
    }

    /// Queues a message for which there is room.
    func append(_ message: SendQueue.Message) {
        queue.append(message)
        accountUnsent(unsentBytes)
    }

    /// True while messages wait.
    var hasWaiting: Bool { !queue.isEmpty }

    /// Takes all messages that wait, for a client that fetches them.
    func takeWaiting() -> [SendQueue.Message] {
        let messages = queue.takeAll()
        buffers.metrics.outgoing.wireBytes.increment(by: messages.reduce(0) { $0 + $1.header.readableBytes })
        accountUnsent(unsentBytes)
        return messages
    }

    /// Settles the receipt when the kernel has taken the message sent last, or never will.
    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        if !queue.attach(receipt) { whenSent(receipt) }
    }

    /// The channel may take more: sends as many messages as it takes.
    func writabilityChanged() {
        guard isWritable else { return }
        sendWaiting(all: false)
        accountUnsent(isWritable ? 0 : unsentBytes)
        if isClear { owner.outputIsClear() }
    }

    private func sendWaiting(all: Bool) {
        while all || isWritable, let message = queue.popFirst() {
            sendAtOnce(message.header, message.payload)
            for receipt in message.receipts { whenSent(receipt) }
        }
        flush()
    }

    // MARK: The end

    /// The session has ended: moves all waiting messages to the channel, so that the Close frame can follow.
    func finish() {
        isFinished = true
        sendWaiting(all: true)
    }

    /// The connection has gone, and the waiting messages with it.
    func connectionLost() {
        isFinished = true
        detach()
        buffers.metrics.messagesDropped(queue.removeAll(), reason: .clientGone)
        accountUnsent(0)
    }

    // MARK: Accounting

    /// The bytes that wait for the client.
    var unsentBytes: Int { untakenBytes + queue.byteCount }

    func accountUnsent(_ bytes: Int) {
        let old = accountedBytes
        guard bytes != old else { return }
        accountedBytes = bytes
        buffers.changed(self, from: old, to: bytes)
    }

    /// A message that has begun to go out cannot be dropped, so a client that holds more than its share of those is
    /// closed.
    func shed(beyond share: Int) {
        owner.noteLimited(by: .totalSendBuffer, nil)
        if !isFinished {
            let action = buffers.limits.action
            countDropped(queue.shed(to: share, beside: untakenBytes, action), action)
            if unsentBytes <= share { return accountUnsent(unsentBytes) }
            closeAsTooSlow()
        }
        context?.closeAtOnce()
        accountUnsent(0)
    }

    private func closeAsTooSlow() {
        buffers.metrics.slowClient(action: .close)
        isTooSlow = true
        buffers.metrics.messagesDropped(queue.removeAll(), reason: .slowClient)
        owner.closeAsTooSlow()
    }

    private func countDropped(_ count: Int, _ action: SlowClientAction) {
        for _ in 0..<count { buffers.metrics.slowClient(action: action) }
        buffers.metrics.messagesDropped(count, reason: .slowClient)
    }
}
