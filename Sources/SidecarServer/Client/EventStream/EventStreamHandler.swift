import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The one handler of a client's event stream: events out, nothing in.
///
/// What a message means is the session's affair, as with ``WebSocketHandler``.
final class EventStreamHandler: ChannelDuplexHandler, SessionTransport, SendBufferHolder, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let session: BridgeSession
    private let shard: LoopShard
    private var context: ChannelHandlerContext?
    private let output: SocketOutput
    private let isEncrypted: Bool
    private var sendQueue = SendQueue()
    private let timer = TimerEntry()
    private let openedAt = NIODeadline.now()
    private let jitter = Double.random(in: 0.9..<1.1)
    private var sentAt = NIODeadline.now()
    private var isEnding = false
    private var accountedUnsent = 0
    /// Who reads it, in its cursors.
    private let reader: UInt64
    /// Publications up to this place have been said already, when the stream was resumed.
    private var saidUpTo: UInt64 = 0
    private var flushWatch = FlushWatch(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, isEncrypted: Bool, shard: LoopShard) {
        self.session = session
        reader = StreamCursor.reader(session.id)
        self.shard = shard
        self.isEncrypted = isEncrypted
        output = SocketOutput(queue: shard.flushes)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        output.attach(context, isEncrypted: isEncrypted)
    }

    /// Sends the head of the answer and begins.
    func start(head: ByteBuffer, mustRead: Bool) {
        shard.webSocketBegan()
        limitTransport()
        write(head)
        write(EventStreamText.heartbeat)  // proxies pass a head on with the first byte behind it
        arm()
        if mustRead { context?.read() }
    }

    /// A client of an event stream has nothing to say.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if output.isWritable {
            sendWaiting()
            accountUnsent(output.isWritable ? 0 : unsentBytes)
        }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Who ends its half has closed the stream.
        if case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        output.detach()
        shard.metrics.messagesDropped(sendQueue.removeAll(), reason: "client_gone")
        shard.timers.cancel(timer)
        accountUnsent(0)
        shard.state.socketClosed(hasLeft: isEnding)
        isEnding = true
        session.transportEnded(code: 1006, reason: "", initiator: .network)
        shard.webSocketEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return shard.metrics.messagesDropped(1, reason: "client_gone") }
        var text = ByteBuffer()
        EventStreamText.write(format, payload, into: &text)
        _ = send(text, at: nil, channel: nil, nil)
    }

    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool {
        if let cursor, cursor.sequence <= saidUpTo { return true }
        return send(message.eventText, at: cursor, channel: message.channel, action)
    }

    /// - Parameter cursor: The place of the event; nil when it has none.
    private func send(
        _ text: ByteBuffer,
        at cursor: StreamCursor?,
        channel: ChannelName?,
        _ action: SlowClientAction?
    ) -> Bool {
        guard !isEnding else { return false }
        if output.isWritable, sendQueue.isEmpty {
            write(text, at: cursor)
            if !output.isWritable { accountUnsent(unsentBytes) }
            return true
        }
        let settings = shard.configuration.settings
        let byteCount = text.readableBytes + SendQueue.messageOverhead
        let decision = sendQueue.makeRoom(
            for: byteCount,
            of: channel,
            beside: output.unsentBytes,
            limit: shard.sendBuffers.allowance(upTo: settings.maxSendBufferBytes, adding: byteCount),
            action ?? settings.slowClientAction
        )
        if decision.dropped > 0 || decision.answer != .fits {
            session.noteRefused(.sendBuffer, ["action": "\(decision.action.rawValue)"])
        }
        for _ in 0..<decision.dropped { noteDropped(decision.action) }
        switch decision.answer {
        case .fits:
            let message = cursor.map { SendQueue.Message(header: idLine(at: $0), payload: text, channel: channel) }
            sendQueue.append(message ?? SendQueue.Message(header: text, payload: nil, channel: channel))
            accountUnsent(unsentBytes)
            return true
        case .drop:
            noteDropped(decision.action)
            return false
        case .close:
            shard.metrics.messagesDropped(1, reason: "slow_client")
            closeAsTooSlow()
            accountUnsent(unsentBytes)
            return false
        }
    }

    private func closeAsTooSlow() {
        shard.metrics.slowClient(action: SlowClientAction.close.rawValue)
        shard.metrics.messagesDropped(sendQueue.removeAll(), reason: "slow_client")
        session.close(code: 1008, reason: "the client reads too slowly", for: .slowClient)
    }

    /// What has begun to go out cannot be dropped, so who holds more than its share of that is cut off.
    func giveUpUnsent(beyond share: Int) {
        session.noteRefused(.totalSendBuffer)
        if !isEnding {
            let action = shard.configuration.settings.slowClientAction
            for _ in 0..<sendQueue.shed(to: share, beside: output.unsentBytes, action) { noteDropped(action) }
            if unsentBytes <= share { return accountUnsent(unsentBytes) }
            closeAsTooSlow()
        }
        context?.closeAtOnce()
        accountUnsent(0)
    }

    private func noteDropped(_ action: SlowClientAction) {
        shard.metrics.slowClient(action: action.rawValue)
        shard.metrics.messagesDropped(1, reason: "slow_client")
    }

    /// Says what was missed, and goes on from there.
    ///
    /// Of more than the send buffer takes, only the newest, behind a reset: the client has had no time to read, and must
    /// not be closed for it again and again.
    func resume(_ missed: (_ room: Int) -> Replay) {
        // Beside the messages there may be a reset, and there is their end.
        var room = shard.configuration.settings.maxSendBufferBytes - unsentBytes - SendQueue.messageOverhead * 3
        let missed = missed(room)
        saidUpTo = missed.upTo.sequence
        var texts: [(ByteBuffer, StreamCursor, StoredMessage)] = []
        for (cursor, message) in missed.messages.reversed() {
            var text = ByteBuffer()
            EventStreamText.write(message.format, message.payload, event: message.event, into: &text)
            room -= text.readableBytes + SendQueue.messageOverhead
            if room < 0 { break }
            texts.append((text, cursor, message))
        }
        if !missed.isComplete || texts.count < missed.messages.count {
            _ = send(EventStreamText.reset, at: nil, channel: nil, nil)
        }
        for (text, cursor, message) in texts.reversed() {
            guard send(text, at: cursor, channel: nil, nil) else { return }
            session.noteSent(message.format, payloadBytes: message.payload.readableBytes)
        }
        // It is another connection from here on, also for a client that gets no event before it comes again.
        _ = send(EventStreamText.end, at: missed.upTo, channel: nil, nil)
    }

    func whenWritten(_ receipt: WriteReceipt) {
        receipt.begin()
        if !sendQueue.attach(receipt) { output.whenSent(receipt) }
    }

    var hasInputWaiting: Bool { false }

    /// An event with its place, in memory that is used again and again unless it is large.
    private func write(_ text: ByteBuffer, at cursor: StreamCursor?) {
        guard let cursor else { return write(text) }
        guard text.readableBytes <= WebSocketHandler.copyThreshold else { return write(idLine(at: cursor), text) }
        let byteCount = output.compose { buffer in
            EventStreamText.writeID(cursor.read(by: reader), into: &buffer)
            buffer.writeImmutableBuffer(text)
        }
        wrote(byteCount)
    }

    private func idLine(at cursor: StreamCursor) -> ByteBuffer {
        var line = ByteBuffer()
        EventStreamText.writeID(cursor.read(by: reader), into: &line)
        return line
    }

    private func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        output.write(bytes, rest)
        wrote(bytes.readableBytes + (rest?.readableBytes ?? 0))
    }

    private func wrote(_ byteCount: Int) {
        sentAt = .now()
        shard.metrics.outgoing.wireBytes.increment(by: byteCount)
    }

    private func sendWaiting(all: Bool = false) {
        while all || output.isWritable, let message = sendQueue.popFirst() {
            write(message.header, message.payload)
            for receipt in message.receipts { output.whenSent(receipt) }
        }
        output.flush()
    }

    var unsentBytes: Int { output.unsentBytes + sendQueue.byteCount }

    func accountUnsent(_ bytes: Int) {
        let old = accountedUnsent
        guard bytes != old else { return }
        accountedUnsent = bytes
        shard.sendBuffers.changed(self, from: old, to: bytes)
    }

    // MARK: The end

    func handshakeDecided(_ decision: HandshakeDecision) {}
    func resumeReading() {}
    func settingsChanged(isOfTransport: Bool) {
        guard !isEnding else { return }
        if isOfTransport { limitTransport() }
        arm()
    }

    /// Ends the stream; a browser comes again by itself, after a random time when many do.
    func close(code: UInt16, reason: String) {
        guard !isEnding else { return }
        isEnding = true
        shard.state.socketLeft()
        sendWaiting(all: true)
        if code == 1012 || code == 1013 {
            write(EventStreamText.retry(milliseconds: .random(in: 1_000...10_000)))
        }
        output.flush()
        context?.close(mode: .output, promise: nil)
        flushWatch.begin(at: .now())
        shard.timers.arm(timer, owner: self, at: .now() + ServerConfiguration.linger)
    }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        if isEnding {
            if flushWatch.isProgressing(unsentBytes: unsentBytes, at: now) { return now + ServerConfiguration.linger }
            context?.close(promise: nil)
            return nil
        }
        let policy = shard.configuration.heartbeat
        if let age = policy.maxAge, now - openedAt >= scaled(age) {
            shard.metrics.limited("max_connection_age", action: "closed")
            session.close(code: 1001, reason: "the connection is too old; reconnect", for: .maxAge)
            return nil
        }
        if let interval = policy.pingInterval, now - sentAt >= scaled(interval) {
            if output.isWritable, sendQueue.isEmpty {
                write(EventStreamText.heartbeat)
                shard.metrics.pingsSent.increment()
            } else {
                sentAt = now
            }
        }
        return nextDeadline
    }

    private var nextDeadline: NIODeadline {
        let policy = shard.configuration.heartbeat
        let ping = policy.pingInterval.map { sentAt + scaled($0) } ?? .distantFuture
        return min(ping, policy.maxAge.map { openedAt + scaled($0) } ?? .distantFuture)
    }

    private func arm() {
        shard.timers.arm(timer, owner: self, at: nextDeadline)
    }

    private func scaled(_ amount: TimeAmount) -> TimeAmount {
        .nanoseconds(Int64(Double(amount.nanoseconds) * jitter))
    }

    private func limitTransport() {
        guard let channel = context?.channel else { return }
        TransportLimits.set(on: channel, output, shard.configuration)
    }
}
