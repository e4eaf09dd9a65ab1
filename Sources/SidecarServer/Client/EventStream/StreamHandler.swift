import CoreMetrics
import NIOCore
import SidecarCore

/// A long answer in which events go out, until either side ends it.
class StreamHandler: ChannelDuplexHandler, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    let session: BridgeSession
    let loop: ClientContext
    let output: ClientOutput
    private var context: ChannelHandlerContext?
    private let isEncrypted: Bool
    private(set) var isEnding = false
    private let timer = TimerEntry()
    private var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1), hasAnswers: false)
    private var linger = Linger(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, codec: MessageCodec, isEncrypted: Bool, loop: ClientContext) {
        self.session = session
        self.loop = loop
        self.isEncrypted = isEncrypted
        output = ClientOutput(owner: session, codec: codec, flushes: loop.flushes, buffers: loop.sendBuffers)
    }

    /// The connection has gone; the session is told after that.
    func connectionLost() {}

    /// The session knows it.
    func sessionTold() {}

    /// Itself, as what carries its session.
    var transport: (any SessionTransport)? { nil }

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

    /// A client of a stream sends nothing after its request.
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
        connectionLost()
        session.transportEnded(transport, code: .abnormal, reason: "", initiator: .network)
        sessionTold()
        loop.registry.streamEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: The end

    /// Ends the stream, after these events.
    func end(_ sendLast: () -> Void) {
        guard !isEnding else { return }
        isEnding = true
        loop.state.socketLeft()
        sendLast()
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
