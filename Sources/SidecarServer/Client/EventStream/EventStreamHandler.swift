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
    private let isEncrypted: Bool
    private(set) var isEnding = false
    private let timer = TimerEntry()
    private var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1), hasAnswers: false)
    private var linger = Linger(patience: ServerConfiguration.flushPatience)
    /// What the client has got, as its ids say.
    private var position: StreamCursor
    /// The replay has already covered publications up to this position.
    var replayedUpTo = StreamCursor(.channels([]))
    /// The replay that the broker has not answered with yet.
    var pending: PendingReplay?

    init(session: BridgeSession, isEncrypted: Bool, loop: ClientContext) {
        self.session = session
        self.loop = loop
        self.isEncrypted = isEncrypted
        position = StreamCursor(.channels([]), reader: StreamCursor.reader(session.id))
        output = ClientOutput(owner: session, codec: .eventStream, flushes: loop.flushes, buffers: loop.sendBuffers)
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
        session.transportEnded(self, code: .abnormal, reason: "", initiator: .network)
        loop.registry.streamEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard !isEnding else { return loop.metrics.messagesDropped(1, reason: .clientGone) }
        _ = send(EventStreamCodec.encode(format, payload), at: nil)
    }

    func send(_ delivery: ChannelDelivery) -> Bool {
        if let mark = delivery.mark, mark.isCovered(by: replayedUpTo) { return true }
        let message = delivery.message
        return send(
            message.encoded(by: .eventStream),
            at: delivery.mark,
            of: delivery.channel,
            message.action
        )
    }

    func send(_ message: PreparedMessage) -> Bool { send(message.encoded(by: .eventStream), at: nil) }

    /// - Parameter mark: The position of the event; nil when it has none.
    func send(
        _ text: ByteBuffer,
        at mark: StreamMark?,
        of channel: ChannelName? = nil,
        _ action: SlowClientAction? = nil
    ) -> Bool {
        guard !isEnding else { return false }
        if let pending {
            return pending.hold(PendingReplay.Event(text: text, mark: mark, channel: channel, action: action))
        }
        if output.isClear {
            EventStreamCodec.send(text, at: advance(by: mark), over: output)
            return true
        }
        guard output.makeRoom(for: text.readableBytes, of: channel, action) else { return false }
        var message = EventStreamCodec.message(text, at: advance(by: mark))
        message.channel = channel
        output.append(message)
        return true
    }

    /// The client gets an event at this position; returns the position of the stream after it.
    private func advance(by mark: StreamMark?) -> StreamCursor? {
        guard let mark else { return nil }
        position.advance(by: mark)
        return position
    }

    /// Sends the position after a replay, without an event.
    func sendPosition(after replay: Replay) {
        position.advance(by: replay.upTo)
        guard !isEnding else { return }
        if output.isClear {
            EventStreamCodec.send(EventStreamText.end, at: position, over: output)
        } else if output.makeRoom(for: EventStreamText.end.readableBytes, of: nil, nil) {
            output.append(EventStreamCodec.message(EventStreamText.end, at: position))
        }
    }

    func begins(in channel: ChannelName, at mark: StreamMark?) {
        if let mark {
            // An event of the channel may have come first.
            guard position.mark(of: channel)?.offset == nil else { return }
            position.advance(by: mark)
        } else {
            position.advance(by: .channel(ChannelMark(unknownIn: channel)))
        }
    }

    func ends(in channel: ChannelName) { position.leave(channel) }

    var isClear: Bool { output.isClear }

    func whenWritten(_ receipt: WriteReceipt) {
        if let pending { pending.whenWritten(receipt) } else { output.whenWritten(receipt) }
    }

    // MARK: The end

    /// Ends the stream; a browser reconnects by itself, after a random time when many streams end at once.
    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
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
