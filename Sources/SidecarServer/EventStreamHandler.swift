import CoreMetrics
import Logging
import NIOCore
import SidecarCore

/// The one handler of a client's event stream: events out, nothing in.
///
/// What a message means is the session's affair, as with ``WebSocketHandler``.
final class EventStreamHandler: ChannelDuplexHandler, SessionTransport, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let session: BridgeSession
    private let shard: LoopShard
    private var context: ChannelHandlerContext?
    private let output: SocketOutput
    private let isEncrypted: Bool
    private var outbox = Outbox()
    private let timer = TimerEntry()
    private let openedAt = NIODeadline.now()
    private let jitter = Double.random(in: 0.9..<1.1)
    private var sentAt = NIODeadline.now()
    private var isEnding = false
    private var accountedUnsent = 0
    /// Publications up to this place have been said already, when the stream was resumed.
    private var saidUpTo: UInt64 = 0
    private var flushWatch = FlushWatch(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, isEncrypted: Bool, shard: LoopShard) {
        self.session = session
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
        shard.metrics.messagesDropped(outbox.removeAll(), reason: "client_gone")
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
        EventStreamText.write(format, payload, id: nil, into: &text)
        _ = send(text, channel: nil, nil)
    }

    func send(_ message: SharedMessage, at cursor: StreamCursor?, _ action: SlowSubscriberAction?) -> Bool {
        if let cursor, cursor.sequence <= saidUpTo { return true }
        return send(message.eventText(at: cursor), channel: message.channel, action)
    }

    private func send(_ text: ByteBuffer, channel: ChannelName?, _ action: SlowSubscriberAction?) -> Bool {
        guard !isEnding else { return false }
        if output.isWritable, outbox.isEmpty {
            write(text)
            if !output.isWritable { accountUnsent(unsentBytes) }
            return true
        }
        let settings = shard.configuration.settings
        let decision = outbox.makeRoom(
            for: text.readableBytes + Outbox.messageOverhead,
            of: channel,
            beside: output.unsentBytes,
            limit: settings.maxSendBufferBytes,
            action ?? SlowSubscriberAction(settings.slowClientAction)
        )
        for _ in 0..<decision.dropped { noteDropped(decision.action) }
        switch decision.answer {
        case .fits:
            outbox.append(Outbox.Message(header: text, payload: nil, channel: channel))
            accountUnsent(unsentBytes)
            return true
        case .drop:
            noteDropped(decision.action)
            return false
        case .close:
            shard.metrics.slowClient(action: decision.action.rawValue)
            session.noteRefused(.sendBuffer, ["action": "close"])
            shard.metrics.messagesDropped(outbox.removeAll() + 1, reason: "slow_client")
            session.close(code: 1008, reason: "the client reads too slowly")
            return false
        }
    }

    private func noteDropped(_ action: SlowSubscriberAction) {
        shard.metrics.slowClient(action: action.rawValue)
        session.noteRefused(.sendBuffer, ["action": "\(action.rawValue)"])
        shard.metrics.messagesDropped(1, reason: "slow_client")
    }

    /// Says what was missed, and goes on from there.
    ///
    /// Of more than the send buffer takes, only the newest, behind a reset: the client has had no time to read, and must
    /// not be closed for it again and again.
    func resume(_ missed: MissedEvents) {
        saidUpTo = missed.upTo
        var texts: [(ByteBuffer, StoredMessage)] = []
        var room = shard.configuration.settings.maxSendBufferBytes - unsentBytes - Outbox.messageOverhead * 2
        for (cursor, message) in missed.messages.reversed() {
            var text = ByteBuffer()
            EventStreamText.write(message.format, message.payload, id: cursor.text, event: message.event, into: &text)
            room -= text.readableBytes + Outbox.messageOverhead
            if room < 0 { break }
            texts.append((text, message))
        }
        if !missed.isComplete || texts.count < missed.messages.count {
            _ = send(EventStreamText.reset, channel: nil, nil)
        }
        for (text, message) in texts.reversed() {
            guard send(text, channel: nil, nil) else { return }
            session.noteSent(message.format, payloadBytes: message.payload.readableBytes)
        }
    }

    var hasUnsent: Bool { unsentBytes > 0 }

    private func write(_ bytes: ByteBuffer) {
        sentAt = .now()
        shard.metrics.outgoing.wireBytes.increment(by: bytes.readableBytes)
        output.write(bytes)
    }

    private func sendWaiting(all: Bool = false) {
        while all || output.isWritable, let message = outbox.popFirst() { write(message.header) }
        output.flush()
    }

    private var unsentBytes: Int { output.unsentBytes + outbox.byteCount }

    private func accountUnsent(_ bytes: Int) {
        if bytes != accountedUnsent { shard.state.adjustUnsent(by: bytes - accountedUnsent) }
        accountedUnsent = bytes
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
            session.close(code: 1001, reason: "the connection is old; connect again")
            return nil
        }
        if let interval = policy.pingInterval, now - sentAt >= scaled(interval) {
            if output.isWritable, outbox.isEmpty {
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
