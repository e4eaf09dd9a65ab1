import CoreMetrics
import NIOCore
import SidecarCore
import WebSocketProtocol

/// The one handler of an upgraded connection: frames in, frames out, and the closing of both ends.
///
/// What a message means is decided by the session. The state of each role is in a value of its own, and the code of
/// each role in a file named after it.
final class WebSocketHandler: ChannelDuplexHandler, SessionTransport, HandshakeResponder, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase: UInt8 {
        /// Frames go both ways.
        case open
        /// Our Close frame is out; the client's is awaited.
        case awaitingClose
        /// The client has gone; its residual input is processed as fast as rates and budgets allow.
        case residual
        /// Nothing more is sent; input is discarded until the client ends its half too, so that it gets no reset.
        case lingering
        case gone
    }

    let session: BridgeSession
    let loop: ClientContext
    var context: ChannelHandlerContext?
    private let isEncrypted: Bool
    var phase = Phase.open
    let timer = TimerEntry()

    // Out.
    let output: ClientOutput
    /// What messages look like.
    let messageCodec: MessageCodec
    /// Makes their frames.
    var codec: RawFrames
    /// Whether `codec` may compress; where it may not, it is not asked, which costs less.
    let compresses: Bool

    // In.
    var reader: MessageReader
    var held = HeldInput()
    var assembly = AssemblyWatch()
    /// Counts the residual input, which like a pending message waits for the app.
    var residual = BudgetShare()
    var control = ControlFrames()

    // Lifetime.
    var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1))
    var progress = ReadingProgress()
    var closing = Closing()

    init(session: BridgeSession, deflate: NegotiatedDeflate?, isEncrypted: Bool, loop: ClientContext) {
        self.session = session
        self.loop = loop
        self.isEncrypted = isEncrypted
        messageCodec = session.messageCodec
        output = ClientOutput(owner: session, codec: messageCodec, flushes: loop.flushes, buffers: loop.sendBuffers)
        reader = loop.messageReader(deflate)
        compresses = deflate != nil
        codec = RawFrames(
            deflate.map {
                MessageCompressor(
                    deflate: $0,
                    codecs: loop.codecs,
                    minimumBytes: loop.configuration.settings.compressionMinBytes
                )
            }
        )
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        output.attach(context, isEncrypted: isEncrypted)
    }

    /// Sends the 101 and begins.
    ///
    /// - Parameters:
    ///   - residual: What the client sent after its handshake.
    ///   - mustRead: A read was requested and not passed on while the app decided.
    func start(answer: ByteBuffer, residual: ByteBuffer, mustRead: Bool) {
        loop.registry.streamBegan()
        limitTransport()
        armForOpen()
        if residual.readableBytes > 0 {
            held.hold(residual)
            loop.metrics.incoming.wireBytes.increment(by: residual.readableBytes)
        }
        held.isReadWithheld = mustRead
        // The write may show that the client has gone; what it had sent still counts.
        held.isProcessing = true
        output.write(answer)
        held.isProcessing = false
        // In its own turn: the session has yet to apply what the app said with its acceptance.
        loop.eventLoop.assumeIsolated().execute { self.resumeReading() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .open || phase == .awaitingClose else { return }
        let arrived = unwrapInboundIn(data)
        let now = NIODeadline.now()
        heartbeat.received(at: now)
        loop.metrics.incoming.wireBytes.increment(by: arrived.readableBytes)
        var bytes = arrived
        if var before = held.take() {
            before.writeImmutableBuffer(arrived)
            bytes = before
        }
        if held.isProcessing {
            held.hold(bytes)  // a write failed while earlier input was processed, and NIO reads to the end
        } else {
            process(bytes, at: now)
        }
    }

    /// Requests more at once, which costs less than checking whether to.
    func channelReadComplete(context: ChannelHandlerContext) {
        if control.pendingPong != nil { sendPendingPong() }
        read(context: context)
    }

    func read(context: ChannelHandlerContext) {
        if phase == .open, mustPauseReading {
            held.isReadWithheld = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        output.writabilityChanged()
        sendPendingPong()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let wasOpen = phase == .open
        phase = wasOpen ? .residual : .gone
        output.connectionLost()
        control.pendingPong = nil
        closing.handshake.transportClosed()
        loop.timers.cancel(timer)
        loop.state.socketClosed(hasLeft: closing.hasLeft)
        if wasOpen {
            session.clientLeft()
            loop.state.assemblyBytes.adjust(by: assembly.share.change(to: 0))
            loop.registry.keep(self)
            takeResidualInput()
            if phase == .residual { arm(at: .now() + ServerConfiguration.residualInputPatience) }
        } else {
            _ = held.take()
            loop.state.assemblyBytes.adjust(by: assembly.share.change(to: 0))
            session.transportEnded(self, code: .abnormal, reason: "", initiator: .network)
        }
        loop.registry.streamEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .open:
            if let deadline = control.pauseEnds, now >= deadline { endControlPause() }
            closeIfAssemblyIsOverdue(at: now)
            if phase == .open { beat(at: now) }
            return phase == .open ? nextDeadlineWhenOpen : now + ServerConfiguration.linger
        case .awaitingClose:
            if let deadline = deadlineWhileSending(at: now) { return deadline }
            linger()
            return now + ServerConfiguration.linger
        case .lingering:
            if let deadline = deadlineWhileSending(at: now) { return deadline }
            context?.close(promise: nil)
            return nil
        case .residual:
            // The rate cannot slow down a client that has gone; waiting would only delay its close event.
            guard session.isThrottled else { return now + ServerConfiguration.residualInputPatience }
            discardResidualInput(reason: .rateLimited)
            session.transportEnded(self, code: .abnormal, reason: "", initiator: .network)
            return nil
        case .gone:
            return nil
        }
    }

    func arm(at deadline: NIODeadline) {
        loop.timers.arm(timer, owner: self, at: deadline)
    }

    func armForOpen() {
        arm(at: nextDeadlineWhenOpen)
    }

    private var nextDeadlineWhenOpen: NIODeadline {
        heartbeat.sent(at: output.sentAt)
        var next = heartbeat.nextDeadline(loop.configuration.heartbeat)
        if let deadline = assembly.deadline { next = min(next, deadline) }
        if let deadline = control.pauseEnds { next = min(next, deadline) }
        return next
    }

    // MARK: Settings

    /// Deadlines that have already passed under the new settings are spread, or all sockets would be pinged at once.
    func settingsChanged(isOfTransport: Bool) {
        guard phase == .open else { return }
        if isOfTransport { limitTransport() }
        endControlPause()  // the next ping decides whether it still has to wait
        guard phase == .open else { return }
        let span = min(loop.configuration.heartbeat.pingInterval ?? .seconds(2), .seconds(2))
        let spread = NIODeadline.now() + .nanoseconds(Int64(Double(span.nanoseconds) * .random(in: 0..<1)))
        arm(at: max(nextDeadlineWhenOpen, spread))
    }

    private func limitTransport() {
        guard let channel = context?.channel else { return }
        TransportLimits.set(on: channel, output, loop.configuration)
        TransportLimits.setWindow(of: output, maxPendingBytes: loop.configuration.settings.maxPendingBytes)
    }
}
