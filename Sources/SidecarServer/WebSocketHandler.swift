import CoreMetrics
import NIOCore
import SidecarCore
import WebSocketProtocol

/// The one handler of an upgraded connection: frames in, frames out, and the closing of both ends.
///
/// What a message means is the session's affair.
final class WebSocketHandler: ChannelDuplexHandler, SessionTransport, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase: UInt8 {
        /// Frames go both ways.
        case open
        /// Our Close frame is out; the client's is awaited.
        case awaitingClose
        /// Nothing more is sent; input is discarded until the client ends too, so that it is not reset.
        case lingering
        case gone
    }

    /// How many pongs may be unsent before only the newest ping is answered (RFC 6455 §5.5.3).
    private static let maxUnsentPongBytes = 4096
    /// Larger payloads are written beside their header instead of copied behind it, in bytes.
    private static let copyThreshold = 4096

    private let session: BridgeSession
    private let shard: LoopShard
    private var context: ChannelHandlerContext?
    private var reader: MessageReader
    private var compressor: MessageCompressor?
    private var outbox = Outbox()
    private var closing = CloseHandshake()
    private var phase = Phase.open
    private var input: ByteBuffer?
    private var pendingPong: ByteBuffer?
    private var timer: TimerEntry?
    private var isAssemblyTimed = false
    private var accountedAssembly = 0
    private var accountedUnsent = 0
    private var readWithheld = false
    private var isProcessing = false
    private var isTooSlow = false
    private var hasLeft = false
    private var flushWatch = FlushWatch(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, deflate: NegotiatedDeflate?, shard: LoopShard) {
        self.session = session
        self.shard = shard
        let settings = shard.configuration.settings
        let limits = MessageLimits(
            maxMessageBytes: settings.maxMessageBytes,
            maxFragments: settings.maxFragments,
            maxCompressionRatio: settings.maxCompressionRatio
        )
        if let deflate {
            reader = MessageReader(limits: limits, deflate: deflate, codecs: shard.codecs)
            compressor = MessageCompressor(
                deflate: deflate,
                codecs: shard.codecs,
                minimumBytes: settings.compressionMinBytes
            )
        } else {
            reader = MessageReader(limits: limits)
        }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    /// Sends the 101 and begins.
    ///
    /// - Parameters:
    ///   - leftover: What the client sent behind its handshake.
    ///   - mustRead: A read was asked for and not passed on while the app decided.
    func start(answer: ByteBuffer, leftover: ByteBuffer, mustRead: Bool) {
        shard.webSocketBegan()
        context?.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        if leftover.readableBytes > 0 {
            input = leftover
            shard.metrics.incoming.wireBytes.increment(by: leftover.readableBytes)
        }
        readWithheld = mustRead
        // In its own turn: the session has yet to apply what the app said with its acceptance.
        shard.eventLoop.assumeIsolated().execute { self.resumeReading() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if phase == .lingering || phase == .gone { return }
        var bytes = unwrapInboundIn(data)
        shard.metrics.incoming.wireBytes.increment(by: bytes.readableBytes)
        if input == nil {
            input = bytes
        } else {
            input?.writeBuffer(&bytes)
        }
        process()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        sendPendingPong()
        context.flush()
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if phase == .open, session.mustPauseReading {
            readWithheld = true
        } else {
            context.read()
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            sendWaiting()
            sendPendingPong()
            context.flush()
            accountUnsent(context.channel.isWritable ? 0 : unsentBytes)
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if phase == .open { takeWhatIsLeft() }
        phase = .gone
        shard.metrics.messagesDropped(outbox.removeAll(), reason: "client_gone")
        input = nil
        pendingPong = nil
        closing.transportClosed()
        cancelTimer()
        accountAssembly(0)
        accountUnsent(0)
        shard.state.socketClosed(hasLeft: hasLeft)
        shard.webSocketEnded()
        session.transportEnded(code: 1006, reason: "", initiator: .network)
        context.fireChannelInactive()
        self.context = nil
    }

    // MARK: Input

    private func process() {
        guard !isProcessing, var bytes = input else { return }
        isProcessing = true
        input = nil
        var sawMessage = false
        do {
            while phase == .open || phase == .awaitingClose {
                if phase == .open, session.mustPauseReading { break }
                guard let event = try reader.next(from: &bytes) else { break }
                if case .message = event { sawMessage = true }
                handle(event)
            }
        } catch {
            fail(error)
        }
        isProcessing = false
        keep(bytes)
        watchAssembly(restarted: sawMessage)
    }

    /// The client has gone: the messages that back-pressure held up came before its end and still count.
    private func takeWhatIsLeft() {
        guard !isProcessing, var bytes = input else { return }
        input = nil
        while let event = try? reader.next(from: &bytes) {
            switch event {
            case .message(let kind, let payload): session.received(kind == .text ? .text : .binary, payload)
            case .close(let code, let reason):
                session.transportEnded(code: (code ?? .noStatus).rawValue, reason: reason, initiator: .client)
            case .ping, .pong: break
            }
        }
    }

    /// Keeps what could not be used yet: a part of a frame header, or all that back-pressure holds up.
    private func keep(_ bytes: ByteBuffer) {
        guard phase == .open || phase == .awaitingClose, bytes.readableBytes > 0 else { return }
        // A few bytes must not hold the whole buffer that they were read into.
        input = bytes.readableBytes <= 16 ? ByteBuffer(bytes: bytes.readableBytesView) : bytes
    }

    private func handle(_ event: WebSocketEvent) {
        switch event {
        case .message(let kind, let payload):
            if phase == .open { session.received(kind == .text ? .text : .binary, payload) }
        case .ping(let payload):
            answerPing(payload)
        case .pong:
            break
        case .close(let code, let reason):
            peerClosed(code, reason)
        }
    }

    private func watchAssembly(restarted: Bool) {
        accountAssembly(phase == .open && reader.isAssembling ? reader.bytesReserved + reader.codecBytes : 0)
        guard phase == .open else { return }
        if accountedAssembly > 0, shard.state.assemblyBytes.isSpent {
            shard.metrics.limited("max_total_pending_bytes", action: "closed")
            session.close(code: CloseCode.tryAgainLater.rawValue, reason: "too many messages are half received")
            return
        }
        if !reader.isAssembling {
            if isAssemblyTimed { cancelTimer() }
            isAssemblyTimed = false
        } else if !isAssemblyTimed || restarted {
            isAssemblyTimed = true
            armTimer(after: shard.configuration.settings.messageAssemblyTimeout)
        }
    }

    private func answerPing(_ payload: ByteBuffer) {
        guard phase == .open, let context else { return }
        if !context.channel.isWritable || unsentBytes > Self.maxUnsentPongBytes {
            pendingPong = payload
            return
        }
        writePong(payload, context)
    }

    private func sendPendingPong() {
        guard phase == .open, let payload = pendingPong, let context, context.channel.isWritable else { return }
        pendingPong = nil
        writePong(payload, context)
    }

    private func writePong(_ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        var frame = context.channel.allocator.buffer(capacity: payload.readableBytes + 2)
        FrameEncoder.write(.pong, payload: payload, into: &frame)
        write(frame, context)
    }

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard phase == .open, let context else { return }
        if context.channel.isWritable, outbox.isEmpty {
            let message = frame(format, payload)
            write(message, context)
            context.flush()
            if !context.channel.isWritable { accountUnsent(unsentBytes) }
        } else if hasRoom(for: payload.readableBytes) {
            outbox.append(frame(format, payload, mayBeDropped: true))
            accountUnsent(unsentBytes)
        }
    }

    /// Encodes a message, compressed when that was agreed on and pays.
    ///
    /// - Parameter mayBeDropped: Later messages must not lean on it, as they do with context takeover.
    private func frame(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        mayBeDropped: Bool = false
    ) -> Outbox.Message {
        let opcode: FrameEncoder.Opcode = format == .text ? .text : .binary
        var body = payload
        var isCompressed = false
        let isSafe = !mayBeDropped || compressor?.isStateless == true
        if isSafe, compressor?.shouldCompress(byteCount: payload.readableBytes) == true {
            shard.compressed.clear()
            if compressor?.compress(payload, into: &shard.compressed) == true {
                body = shard.compressed
                isCompressed = true
            }
        }
        shard.scratch.clear()
        if body.readableBytes <= Self.copyThreshold {
            FrameEncoder.write(opcode, payload: body, compressed: isCompressed, into: &shard.scratch)
            return Outbox.Message(header: shard.scratch, payload: nil)
        }
        FrameEncoder.writeHeader(
            opcode,
            payloadLength: body.readableBytes,
            compressed: isCompressed,
            into: &shard.scratch
        )
        return Outbox.Message(header: shard.scratch, payload: body)
    }

    private func write(_ message: Outbox.Message, _ context: ChannelHandlerContext) {
        write(message.header, context)
        if let payload = message.payload { write(payload, context) }
    }

    /// Hands waiting messages to the channel, as many as it takes; all of them when nothing may stay behind.
    private func sendWaiting(all: Bool = false) {
        guard let context else { return }
        while all || context.channel.isWritable, let message = outbox.popFirst() {
            write(message, context)
        }
        context.flush()
    }

    private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        shard.metrics.outgoing.wireBytes.increment(by: bytes.readableBytes)
        context.write(wrapOutboundOut(bytes), promise: nil)
    }

    /// A client that does not read may not make us hold more than its budget; one message may always wait.
    ///
    /// Only whole messages are dropped, and none that has begun to go out.
    private func hasRoom(for byteCount: Int) -> Bool {
        let settings = shard.configuration.settings
        func fits() -> Bool { unsentBytes + byteCount <= settings.maxSendBufferBytes }
        if unsentBytes == 0 || fits() { return true }
        let action = settings.slowClientAction
        switch action {
        case .close:
            shard.metrics.slowClient(action: action.rawValue)
            isTooSlow = true
            shard.metrics.messagesDropped(outbox.removeAll() + 1, reason: "slow_client")
            session.close(code: CloseCode.policyViolation.rawValue, reason: "the client reads too slowly")
            return false
        case .dropNewest:
            dropped(action)
            return false
        case .dropOldest:
            while !fits(), outbox.popFirst() != nil { dropped(action) }
            if fits() || outbox.isEmpty && bytesInChannel < settings.maxSendBufferBytes { return true }
            dropped(action)
            return false
        }
    }

    private func dropped(_ action: SlowClientAction) {
        shard.metrics.slowClient(action: action.rawValue)
        shard.metrics.messagesDropped(1, reason: "slow_client")
    }

    private var unsentBytes: Int { bytesInChannel + outbox.byteCount }

    private var bytesInChannel: Int {
        (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    // MARK: Closing

    func handshakeDecided(_ decision: HandshakeDecision) {}

    func close(code: UInt16, reason: String) {
        guard let code = CloseCode(sendable: Int(code)),
            case .sendClose(let code) = closing.localClose(code)
        else { return }
        sendClose(code, reason)
        phase = .awaitingClose
        flushWatch.begin(at: .now())
        armTimer(after: ServerConfiguration.linger)
        resumeReading()  // back-pressure must not hide the client's Close
    }

    private func peerClosed(_ code: CloseCode?, _ reason: String) {
        switch closing.receivedClose(code) {
        case .replyThenClose(let code):
            sendClose(code, "")
            linger()
            session.transportEnded(
                code: (code ?? .noStatus).rawValue,
                reason: reason,
                initiator: .client
            )
        case .closeNow: linger()
        case .ignore: break
        }
    }

    /// The client broke the protocol or a limit of the protocol.
    private func fail(_ violation: ProtocolViolation) {
        switch closing.fail(violation.closeCode) {
        case .sendThenClose(let code):
            if code == .tooBig { shard.metrics.limited(violation.name, action: "closed") }
            sendClose(code, violation.reason)
            linger()
            session.transportEnded(code: code.rawValue, reason: violation.reason, initiator: .server)
        case .closeNow: linger()
        case .ignore: break
        }
    }

    private func sendClose(_ code: CloseCode?, _ reason: String) {
        guard let context else { return }
        sendWaiting(all: true)
        var frame = context.channel.allocator.buffer(capacity: 2 + 2 + reason.utf8.count)
        FrameEncoder.writeClose(code, reason: reason, into: &frame)
        write(frame, context)
        context.flush()
    }

    /// Ends our half and discards the client's until it ends too: closing at once with bytes unread would make
    /// the system send a reset, and the client would never see our code.
    private func linger() {
        phase = .lingering
        if !hasLeft { shard.state.socketLeft() }
        hasLeft = true
        input = nil
        pendingPong = nil
        flushWatch.begin(at: .now())
        armTimer(after: ServerConfiguration.linger)
        context?.close(mode: .output, promise: nil)
        resumeReading()
    }

    /// True while what is unsent still goes out, slowly: the client is not to lose its end.
    private func isStillSending(at now: NIODeadline) -> Bool {
        !isTooSlow && flushWatch.isProgressing(unsentBytes: unsentBytes, at: now)
    }

    func resumeReading() {
        process()
        if readWithheld, phase != .open || !session.mustPauseReading {
            readWithheld = false
            context?.read()
        }
    }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .open:
            if session.mustPauseReading {
                // It is us who do not read.
                return now + shard.configuration.settings.messageAssemblyTimeout
            }
            isAssemblyTimed = false
            shard.metrics.limited("message_assembly_timeout", action: "closed")
            session.close(code: CloseCode.policyViolation.rawValue, reason: "the message took too long")
            return now + ServerConfiguration.linger
        case .awaitingClose:
            if isStillSending(at: now) { return now + ServerConfiguration.linger }
            linger()
            return now + ServerConfiguration.linger
        case .lingering:
            if isStillSending(at: now) { return now + ServerConfiguration.linger }
            context?.close(promise: nil)
            return nil
        case .gone:
            return nil
        }
    }

    private func armTimer(after delay: TimeAmount) {
        let entry = timer ?? TimerEntry()
        timer = entry
        shard.timers.arm(entry, owner: self, at: .now() + delay)
    }

    private func cancelTimer() {
        if let timer { shard.timers.cancel(timer) }
        timer = nil
    }

    // MARK: Accounts

    private func accountAssembly(_ bytes: Int) {
        if bytes != accountedAssembly {
            shard.state.assemblyBytes.adjust(by: bytes - accountedAssembly)
            accountedAssembly = bytes
        }
    }

    private func accountUnsent(_ bytes: Int) {
        if bytes != accountedUnsent {
            shard.state.adjustUnsent(by: bytes - accountedUnsent)
            accountedUnsent = bytes
        }
    }
}
