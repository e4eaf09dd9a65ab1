import CoreMetrics
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// The one handler of an upgraded connection: frames in, frames out, and the closing of both ends.
///
/// What a message means is the session's affair. Its parts are in the files named after them: WebSocketSending,
/// WebSocketClosing, WebSocketLeftover, WebSocketHeartbeat.
final class WebSocketHandler: ChannelDuplexHandler, SessionTransport, SendBufferHolder, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase: UInt8 {
        /// Frames go both ways.
        case open
        /// Our Close frame is out; the client's is awaited.
        case awaitingClose
        /// The client has gone; what it sent before is taken as fast as rates and budgets allow.
        case residual
        /// Nothing more is sent; input is discarded until the client ends too, so that it is not reset.
        case lingering
        case gone
    }

    /// How many pongs may be unsent before only the newest ping is answered (RFC 6455 §5.5.3).
    private static let maxUnsentPongBytes = 4096
    /// Larger payloads are written beside their header instead of copied behind it, in bytes.
    static let copyThreshold = 4096

    let session: BridgeSession
    let shard: LoopShard
    var context: ChannelHandlerContext?
    var reader: MessageReader
    var compressor: MessageCompressor?
    let output: SocketOutput
    private let isEncrypted: Bool
    var sendQueue = SendQueue()
    var closing = CloseHandshake()
    var phase = Phase.open
    var input: ByteBuffer?
    var pendingPong: ByteBuffer?
    let timer = TimerEntry()
    var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1))
    var control = ControlAllowance()
    /// When reading goes on after too many pings and pongs; nil while it does.
    var controlPauseEnds: NIODeadline?
    var unsentAtLastBeat = 0
    var hasSentSinceBeat = false
    private var assemblyDeadline: NIODeadline?
    private var accountedAssembly = 0
    private var accountedResidualInput = 0
    private var accountedUnsent = 0
    var readAt = NIODeadline.now()
    var readWithheld = false
    var isProcessing = false
    var isTooSlow = false
    var hasLeft = false
    var flushWatch = FlushWatch(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, deflate: NegotiatedDeflate?, isEncrypted: Bool, shard: LoopShard) {
        self.session = session
        self.shard = shard
        self.isEncrypted = isEncrypted
        output = SocketOutput(queue: shard.flushes)
        reader = shard.messageReader(deflate)
        compressor = deflate.map {
            MessageCompressor(
                deflate: $0,
                codecs: shard.codecs,
                minimumBytes: shard.configuration.settings.compressionMinBytes
            )
        }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        output.attach(context, isEncrypted: isEncrypted)
    }

    /// Sends the 101 and begins.
    ///
    /// - Parameters:
    ///   - residual: What the client sent behind its handshake.
    ///   - mustRead: A read was asked for and not passed on while the app decided.
    func start(answer: ByteBuffer, residual: ByteBuffer, mustRead: Bool) {
        shard.webSocketBegan()
        limitTransport()
        armForOpen()
        if residual.readableBytes > 0 {
            input = residual
            shard.metrics.incoming.wireBytes.increment(by: residual.readableBytes)
        }
        readWithheld = mustRead
        // It may show that the client is gone; what that sent counts.
        isProcessing = true
        output.write(answer)
        isProcessing = false
        // In its own turn: the session has yet to apply what the app said with its acceptance.
        shard.eventLoop.assumeIsolated().execute { self.resumeReading() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .open || phase == .awaitingClose else { return }
        var bytes = unwrapInboundIn(data)
        readAt = .now()
        heartbeat.received(at: readAt)
        shard.metrics.incoming.wireBytes.increment(by: bytes.readableBytes)
        if var held = input.take() {
            held.writeBuffer(&bytes)
            bytes = held
        }
        if isProcessing {
            input = bytes  // a write has failed amid what came before, and NIO reads to the end
        } else {
            process(bytes, at: readAt)
        }
    }

    /// Asks for more at once, which costs less than being asked whether to.
    func channelReadComplete(context: ChannelHandlerContext) {
        if pendingPong != nil { sendPendingPong() }
        read(context: context)
    }

    func read(context: ChannelHandlerContext) {
        if phase == .open, mustPauseReading {
            readWithheld = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if output.isWritable {
            sendWaiting()
            sendPendingPong()
            accountUnsent(output.isWritable ? 0 : unsentBytes)
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        output.detach()
        let wasOpen = phase == .open
        phase = wasOpen ? .residual : .gone
        shard.metrics.messagesDropped(sendQueue.removeAll(), reason: "client_gone")
        pendingPong = nil
        closing.transportClosed()
        shard.timers.cancel(timer)
        accountUnsent(0)
        shard.state.socketClosed(hasLeft: hasLeft)
        if wasOpen {
            session.clientLeft()
            accountAssembly(0)
            shard.keep(self)
            takeResidualInput()
            if phase == .residual { armTimer(after: ServerConfiguration.residualInputPatience) }
        } else {
            input = nil
            accountAssembly(0)
            session.transportEnded(code: 1006, reason: "", initiator: .network)
        }
        shard.webSocketEnded()
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Input

    private func process(_ input: consuming ByteBuffer, at now: NIODeadline) {
        var bytes = input
        var sawMessage = false
        isProcessing = true
        repeat { takeEvents(from: &bytes, at: now, &sawMessage) } while takeArrived(behind: &bytes)
        isProcessing = false
        keep(bytes)
        watchAssembly(restarted: sawMessage)
    }

    private func takeEvents(from bytes: inout ByteBuffer, at now: NIODeadline, _ sawMessage: inout Bool) {
        do {
            while phase == .open || phase == .awaitingClose {
                if phase == .open, mustPauseReading {
                    if bytes.readableBytes > 0 { session.inputWaits() }
                    break
                }
                guard let event = try reader.next(from: &bytes) else { break }
                if case .message = event {
                    sawMessage = true
                    heartbeat.receivedMessage(at: now)
                }
                handle(event, at: now)
                if bytes.readableBytes == 0 { break }
            }
        } catch {
            fail(error)
        }
    }

    /// What came while the events before it were handled belongs behind what is left of them.
    private func takeArrived(behind bytes: inout ByteBuffer) -> Bool {
        guard var arrived = input.take() else { return false }
        bytes.writeBuffer(&arrived)
        return true
    }

    /// Keeps what could not be used yet: a part of a frame header, or all that back-pressure holds up.
    private func keep(_ bytes: ByteBuffer) {
        if phase == .residual {
            // The client was found gone while its messages were taken.
            input = bytes
            return takeResidualInput()
        }
        guard phase == .open || phase == .awaitingClose, bytes.readableBytes > 0 else { return }
        // A few bytes must not hold the whole buffer that they were read into.
        input = bytes.readableBytes <= 16 ? ByteBuffer(bytes: bytes.readableBytesView) : bytes
    }

    private func handle(_ event: WebSocketEvent, at now: NIODeadline) {
        switch event {
        case .message(let kind, let payload):
            if phase == .open { session.received(.init(kind), payload, at: now) }
        case .ping(let payload):
            answerPing(payload)
            countControl(.ping, at: now)
        case .pong(let payload):
            noteRoundTrip(payload)
            countControl(.pong, at: now)
        case .close(let code, let reason):
            peerClosed(code, reason)
        }
    }

    private func watchAssembly(restarted: Bool) {
        let isAssembling = reader.isAssembling
        accountAssembly(phase == .open && isAssembling ? reader.bytesReserved + reader.codecBytes : 0)
        guard phase == .open else { return }
        if accountedAssembly > 0, shard.state.assemblyBytes.isSpent {
            shard.metrics.limited("max_total_pending_bytes", action: "closed")
            session.noteRefused(.totalPendingBytes, ["action": "closed"])
            session.close(
                code: CloseCode.tryAgainLater.rawValue,
                reason: "too many messages are partly received",
                for: .assemblyBudget
            )
            return
        }
        if !isAssembling {
            assemblyDeadline = nil
        } else if assemblyDeadline == nil || restarted {
            assemblyDeadline = .now() + shard.configuration.settings.messageAssemblyTimeout
            armForOpen()
        }
    }

    private func answerPing(_ payload: ByteBuffer) {
        guard phase == .open else { return }
        if !output.isWritable || unsentBytes > Self.maxUnsentPongBytes {
            pendingPong = payload
            return
        }
        writePong(payload)
    }

    private func sendPendingPong() {
        guard phase == .open, let payload = pendingPong, output.isWritable else { return }
        pendingPong = nil
        writePong(payload)
    }

    private func writePong(_ payload: ByteBuffer) {
        var frame = ByteBufferAllocator().buffer(capacity: payload.readableBytes + 2)
        FrameEncoder.write(.pong, payload: payload, into: &frame)
        write(frame)
    }

    var hasInputWaiting: Bool { input != nil || phase == .open && output.hasInput }

    func resumeReading() {
        if phase == .residual { return takeResidualInput() }
        if !isProcessing, let input = input.take() { process(input, at: .now()) }
        if readWithheld, phase != .open || !mustPauseReading {
            readWithheld = false
            context?.read()
        }
    }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .open:
            if let deadline = controlPauseEnds, now >= deadline { endControlPause() }
            if let deadline = assemblyDeadline, now >= deadline { assemblyTimedOut(at: now) }
            if phase == .open { beat(at: now) }
            return phase == .open ? nextDeadlineWhenOpen : now + ServerConfiguration.linger
        case .awaitingClose:
            if isStillSending(at: now) { return now + ServerConfiguration.linger }
            linger()
            return now + ServerConfiguration.linger
        case .lingering:
            if isStillSending(at: now) { return now + ServerConfiguration.linger }
            context?.close(promise: nil)
            return nil
        case .residual:
            // Nobody is there whom a rate could slow down, and the app waits for the end.
            guard session.isThrottled else { return now + ServerConfiguration.residualInputPatience }
            discardResidualInput(reason: "rate_limited")
            session.transportEnded(code: 1006, reason: "", initiator: .network)
            return nil
        case .gone:
            return nil
        }
    }

    func armTimer(after delay: TimeAmount) {
        shard.timers.arm(timer, owner: self, at: .now() + delay)
    }

    func armForOpen() {
        shard.timers.arm(timer, owner: self, at: nextDeadlineWhenOpen)
    }

    /// Deadlines that have passed already under the new settings are spread, or all sockets would be pinged at once.
    func settingsChanged(isOfTransport: Bool) {
        guard phase == .open else { return }
        if isOfTransport { limitTransport() }
        endControlPause()  // the next ping tells whether it still has to wait
        guard phase == .open else { return }
        let span = min(shard.configuration.heartbeat.pingInterval ?? .seconds(2), .seconds(2))
        let spread = NIODeadline.now() + .nanoseconds(Int64(Double(span.nanoseconds) * .random(in: 0..<1)))
        shard.timers.arm(timer, owner: self, at: max(nextDeadlineWhenOpen, spread))
    }

    private var nextDeadlineWhenOpen: NIODeadline {
        var next = heartbeat.nextDeadline(shard.configuration.heartbeat)
        if let assemblyDeadline { next = min(next, assemblyDeadline) }
        if let controlPauseEnds { next = min(next, controlPauseEnds) }
        return next
    }

    private func assemblyTimedOut(at now: NIODeadline) {
        if mustPauseReading {
            // It is us who do not read.
            assemblyDeadline = now + shard.configuration.settings.messageAssemblyTimeout
            return
        }
        assemblyDeadline = nil
        shard.metrics.limited("message_assembly_timeout", action: "closed")
        session.noteRefused(.assemblyTimeout)
        session.close(
            code: CloseCode.policyViolation.rawValue,
            reason: "the message took too long",
            for: .assemblyTimeout
        )
    }

    private func limitTransport() {
        guard let channel = context?.channel else { return }
        TransportLimits.set(on: channel, output, shard.configuration)
        TransportLimits.setWindow(of: output, maxPendingBytes: shard.configuration.settings.maxPendingBytes)
    }

    // MARK: Accounts

    private func accountAssembly(_ bytes: Int) {
        if bytes != accountedAssembly {
            shard.state.assemblyBytes.adjust(by: bytes - accountedAssembly)
            accountedAssembly = bytes
        }
    }

    /// What a client that has gone has left counts like what waits for the app: it does.
    func accountResidualInput(_ bytes: Int) {
        shard.state.pendingBytes.adjust(by: bytes - accountedResidualInput)
        accountedResidualInput = bytes
    }

    func accountUnsent(_ bytes: Int) {
        let old = accountedUnsent
        guard bytes != old else { return }
        accountedUnsent = bytes
        shard.sendBuffers.changed(self, from: old, to: bytes)
    }
}
