import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// Who is told that a client does not take what it is sent.
protocol ClientOutputOwner: AnyObject {
    /// Less waits for the client than was to; `action` is what was done about it, when the client's own limit was met.
    func noteLimited(by kind: RefusalKind, _ action: SlowClientAction?)
    /// It is to be closed for reading too slowly.
    func closeAsTooSlow()
}

/// What goes out to one client: bytes at once, and whole messages that wait in front of the socket while it takes none.
///
/// It knows neither frames nor events, only bytes and what they cost to keep. It is one object with the output of the
/// socket, which every connection has: idle ones pay for no other.
///
/// A message goes out so, which costs no closure and encodes only what is sent:
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
    private var queue = SendQueue()
    private var accountedBytes = 0
    /// When bytes went out last.
    private(set) var sentAt = NIODeadline.now()
    /// True once the client was to be closed for not reading; it gets no more time then.
    private(set) var isTooSlow = false
    private var isFinished = false

    init(owner: any ClientOutputOwner, flushes: FlushQueue, buffers: SendBuffers) {
        self.owner = owner
        self.buffers = buffers
        super.init(queue: flushes)
    }

    // MARK: Bytes

    /// Sends bytes at once, whatever waits.
    func sendAtOnce(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        write(bytes, rest)
        wrote(bytes.readableBytes + (rest?.readableBytes ?? 0))
    }

    private func wrote(_ byteCount: Int) {
        sentAt = .now()
        buffers.metrics.outgoing.wireBytes.increment(by: byteCount)
    }

    // MARK: Messages

    /// True when a message can go out at once.
    var isClear: Bool { isWritable && queue.isEmpty }

    /// Sends a message while the output is clear.
    func send(_ message: SendQueue.Message) {
        sendAtOnce(message.header, message.payload)
        noteUntaken()
    }

    /// The same with what `body` composes, in memory that is used again and again.
    func send(composedBy body: (inout ByteBuffer) -> Void) {
        wrote(compose(body))
        noteUntaken()
    }

    private func noteUntaken() {
        if !isWritable { accountUnsent(unsentBytes) }
    }

    /// A client that does not read may not make us hold more than its budget: decides whether a message may wait.
    ///
    /// - Parameters:
    ///   - payloadBytes: The size of the message.
    ///   - channel: The channel that it was published to, if it was.
    ///   - action: What is done for it; nil: as `SLOW_CLIENT_ACTION` says.
    /// - Returns: False when the message is dropped, which has been counted.
    func makeRoom(
        for payloadBytes: Int,
        of channel: ChannelName? = nil,
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
            return false
        case .close:
            buffers.metrics.messagesDropped(1, reason: .slowClient)
            closeAsTooSlow()
            accountUnsent(unsentBytes)
            return false
        }
    }

    /// Lets a message wait for which there is room.
    func append(_ message: SendQueue.Message) {
        queue.append(message)
        accountUnsent(unsentBytes)
    }

    /// Settles the receipt when the kernel has taken the message sent last, or never will.
    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        if !queue.attach(receipt) { whenSent(receipt) }
    }

    /// The channel may take more: as many messages as it takes go out.
    func writabilityChanged() {
        guard isWritable else { return }
        sendWaiting(all: false)
        accountUnsent(isWritable ? 0 : unsentBytes)
    }

    private func sendWaiting(all: Bool) {
        while all || isWritable, let message = queue.popFirst() {
            sendAtOnce(message.header, message.payload)
            for receipt in message.receipts { whenSent(receipt) }
        }
        flush()
    }

    // MARK: The end

    /// The session has ended: all that waits goes to the channel, so that the goodbye can follow.
    func finish() {
        isFinished = true
        sendWaiting(all: true)
    }

    /// The connection is gone, and what waits with it.
    func connectionLost() {
        isFinished = true
        detach()
        buffers.metrics.messagesDropped(queue.removeAll(), reason: .clientGone)
        accountUnsent(0)
    }

    // MARK: The account

    /// What waits for the client, in bytes.
    var unsentBytes: Int { untakenBytes + queue.byteCount }

    func accountUnsent(_ bytes: Int) {
        let old = accountedBytes
        guard bytes != old else { return }
        accountedBytes = bytes
        buffers.changed(self, from: old, to: bytes)
    }

    /// What has begun to go out cannot be dropped, so who holds more than its share of that is cut off.
    func giveUpUnsent(beyond share: Int) {
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

extension BridgeSession: ClientOutputOwner {
    func noteLimited(by kind: RefusalKind, _ action: SlowClientAction?) {
        noteRefused(kind, action.map { ["action": "\($0.rawValue)"] } ?? [:])
    }

    func closeAsTooSlow() {
        close(code: .policyViolation, reason: "the client reads too slowly", for: .slowClient)
    }
}
