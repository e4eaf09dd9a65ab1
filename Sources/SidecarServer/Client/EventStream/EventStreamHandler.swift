import CoreMetrics
import NIOCore
import SidecarCore

/// The one handler of a client's event stream: events go out, nothing comes in.
///
/// What a message means is decided by the session, as with ``WebSocketHandler``.
final class EventStreamHandler: ChannelDuplexHandler, ReplayTransport, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let session: BridgeSession
    let loop: ClientContext
    private var context: ChannelHandlerContext?
    let output: ClientOutput
    let codec: EventStreamCodec
    private let isEncrypted: Bool
    private(set) var isEnding = false
    private let timer = TimerEntry()
    private var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1), hasAnswers: false)
    private var linger = Linger(patience: ServerConfiguration.flushPatience)
    /// The replay has already covered publications up to this position.
    var replayedUpTo = StreamCursor(epoch: 0, sequence: 0)
    /// The replay that the broker has not answered with yet.
    var pending: PendingReplay?

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
        output.sendAtOnce(EventStreamText.heartbeat)  // some proxies hold back a head until its body begins
        arm()
        if mustRead { context?.read() }
    }

    /// A client of an event stream sends nothing after its request.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        output.writabilityChanged()
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // A client that ends its half has closed the stream.
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
        for event in takePending() { drop(event) }
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
        if let cursor, cursor.isCovered(by: replayedUpTo) { return true }
        return send(message.encoded(by: .eventStream), at: cursor, of: message.channel, action)
    }

    /// - Parameter cursor: The position of the event; nil when it has none.
    func send(
        _ text: ByteBuffer,
        at cursor: StreamCursor?,
        of channel: ChannelName? = nil,
        _ action: SlowClientAction? = nil
    ) -> Bool {
        guard !isEnding else { return false }
        if let pending {
            return pending.hold(PendingReplay.Event(text: text, cursor: cursor, channel: channel, action: action))
        }
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

    func whenWritten(_ receipt: WriteReceipt) {
        if let pending { pending.whenWritten(receipt) } else { output.whenWritten(receipt) }
    }

    // MARK: The end

    /// Ends the stream; a browser reconnects by itself, after a random time when many streams end at once.
    func close(code: SessionCloseCode, reason: String) {
        guard !isEnding else { return }
        isEnding = true
        loop.state.socketLeft()
        endPending()
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
        case .closeAged: session.closeAsAged()
        case .closeUnresponsive, .closeIdle: break  // a stream has no answers
        }
        return isEnding ? now + ServerConfiguration.linger : heartbeat.nextDeadline(loop.configuration.heartbeat)
    }

    /// A client with unread bytes needs no heartbeat: those keep the stream open.
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
