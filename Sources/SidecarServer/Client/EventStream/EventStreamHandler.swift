import CoreMetrics
import NIOCore
import SidecarCore

/// The one handler of a client's event stream: events out, nothing in.
///
/// What a message means is the session's affair, as with ``WebSocketHandler``.
final class EventStreamHandler: ChannelDuplexHandler, ReplayTransport, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let session: BridgeSession
    private let loop: ClientContext
    private var context: ChannelHandlerContext?
    private let output: ClientOutput
    private let codec: EventStreamCodec
    private let isEncrypted: Bool
    private var isEnding = false
    private let timer = TimerEntry()
    private var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1), hasAnswers: false)
    private var linger = Linger(patience: ServerConfiguration.flushPatience)
    /// Publications up to this place have been said already, when the stream was resumed.
    private var saidUpTo = StreamCursor(epoch: 0, sequence: 0)

    init(session: BridgeSession, isEncrypted: Bool, loop: ClientContext) {
        self.session = session
        self.loop = loop
        self.isEncrypted = isEncrypted
        codec = EventStreamCodec(connectionID: session.id)
        output = ClientOutput(owner: session, flushes: loop.flushes, buffers: loop.sendBuffers)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        output.attach(context, isEncrypted: isEncrypted)
    }

    /// Sends the head of the answer and begins.
    func start(head: ByteBuffer, mustRead: Bool) {
        loop.registry.streamBegan()
        limitTransport()
        output.sendAtOnce(head)
        output.sendAtOnce(EventStreamText.heartbeat)  // proxies pass a head on with the first byte behind it
        arm()
        if mustRead { context?.read() }
    }

    /// A client of an event stream has nothing to say.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        output.writabilityChanged()
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
        output.connectionLost()
        loop.timers.cancel(timer)
        loop.state.socketClosed(hasLeft: isEnding)
        isEnding = true
        session.transportEnded(code: .abnormal, reason: "", initiator: .network)
        loop.registry.streamEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return loop.metrics.messagesDropped(1, reason: .clientGone) }
        _ = send(EventStreamCodec.encode(format, payload), at: nil)
    }

    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool {
        if let cursor, cursor.isCovered(by: saidUpTo) { return true }
        return send(message.encoded(by: .eventStream), at: cursor, of: message.channel, action)
    }

    /// - Parameter cursor: The place of the event; nil when it has none.
    private func send(
        _ text: ByteBuffer,
        at cursor: StreamCursor?,
        of channel: ChannelName? = nil,
        _ action: SlowClientAction? = nil
    ) -> Bool {
        guard !isEnding else { return false }
        if output.isClear {
            codec.send(text, at: cursor, over: output)
            return true
        }
        guard output.makeRoom(for: text.readableBytes, of: channel, action) else { return false }
        var message = codec.message(text, at: cursor)
        message.channel = channel
        output.append(message)
        return true
    }

    /// Says what was missed, and goes on from there.
    ///
    /// Of more than the send buffer takes, only the newest, behind a reset: the client has had no time to read, and must
    /// not be closed for it again and again.
    func resume(_ replay: (_ room: Int, _ completion: @escaping (Replay) -> Void) -> Void) {
        // Beside the messages there may be a reset, and there is their end.
        let ends = SendQueue.messageOverhead * 3
        let room = loop.configuration.settings.maxSendBufferBytes - output.unsentBytes - ends
        replay(room) { self.resume($0, room: room) }
    }

    private func resume(_ missed: Replay, room: Int) {
        var room = room
        saidUpTo = missed.upTo
        var texts: [(ByteBuffer, StreamCursor, StoredMessage)] = []
        for (cursor, message) in missed.messages.reversed() {
            let text = EventStreamCodec.encode(message.format, message.payload, event: message.event)
            room -= text.readableBytes + SendQueue.messageOverhead
            if room < 0 { break }
            texts.append((text, cursor, message))
        }
        if !missed.isComplete || texts.count < missed.messages.count { _ = send(EventStreamText.reset, at: nil) }
        for (text, cursor, message) in texts.reversed() {
            guard send(text, at: cursor) else { return }
            session.noteSent(message.format, payloadBytes: message.payload.readableBytes)
        }
        // It is another connection from here on, also for a client that gets no event before it comes again.
        _ = send(EventStreamText.end, at: missed.upTo)
    }

    func whenWritten(_ receipt: WriteReceipt) { output.whenWritten(receipt) }

    // MARK: The end

    /// Ends the stream; a browser comes again by itself, after a random time when many do.
    func close(code: SessionCloseCode, reason: String) {
        guard !isEnding else { return }
        isEnding = true
        loop.state.socketLeft()
        output.finish()
        if code == .serviceRestart || code == .tryAgainLater {
            output.sendAtOnce(EventStreamText.retry(milliseconds: .random(in: 1_000...10_000)))
        }
        output.flush()
        context?.close(mode: .output, promise: nil)
        loop.timers.arm(timer, owner: self, at: linger.begin(at: .now()))
    }

    // MARK: Deadlines

    func settingsChanged(isOfTransport: Bool) {
        guard !isEnding else { return }
        if isOfTransport { limitTransport() }
        arm()
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        if isEnding {
            switch linger.deadlineReached(unsentBytes: output.unsentBytes, at: now) {
            case .wait(let deadline): return deadline
            case .close: context?.close(promise: nil)
            }
            return nil
        }
        heartbeat.sent(at: output.sentAt)
        switch heartbeat.deadlineReached(at: now, policy: loop.configuration.heartbeat) {
        case .wait: break
        case .sendPing: sendHeartbeat()
        case .closeAged:
            loop.metrics.limited(.maxConnectionAge, action: .closed)
            session.close(code: .goingAway, reason: "the connection is too old; reconnect", for: .maxAge)
        case .closeUnresponsive, .closeIdle: break  // nobody answers on a stream
        }
        return isEnding ? now + ServerConfiguration.linger : heartbeat.nextDeadline(loop.configuration.heartbeat)
    }

    /// Who leaves bytes unread has something to keep the stream alive.
    private func sendHeartbeat() {
        guard output.isClear else { return }
        output.sendAtOnce(EventStreamText.heartbeat)
        loop.metrics.pingsSent.increment()
    }

    private func arm() {
        heartbeat.sent(at: output.sentAt)
        loop.timers.arm(timer, owner: self, at: heartbeat.nextDeadline(loop.configuration.heartbeat))
    }

    private func limitTransport() {
        guard let channel = context?.channel else { return }
        TransportLimits.set(on: channel, output, loop.configuration)
    }
}
