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
        /// The client has gone; what it sent before is taken as fast as rates and budgets allow.
        case leftover
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
    private let output: SocketOutput
    private let isEncrypted: Bool
    private var outbox = Outbox()
    private var closing = CloseHandshake()
    private var phase = Phase.open
    private var input: ByteBuffer?
    private var pendingPong: ByteBuffer?
    private let timer = TimerEntry()
    private var heartbeat = Heartbeat(openedAt: .now(), jitter: .random(in: 0..<1))
    private var unsentAtLastBeat = 0
    private var hasSentSinceBeat = false
    private var assemblyDeadline: NIODeadline?
    private var accountedAssembly = 0
    private var accountedLeftover = 0
    private var accountedUnsent = 0
    private var readAt = NIODeadline.now()
    private var readWithheld = false
    private var isProcessing = false
    private var isTooSlow = false
    private var hasLeft = false
    private var flushWatch = FlushWatch(patience: ServerConfiguration.flushPatience)

    init(session: BridgeSession, deflate: NegotiatedDeflate?, isEncrypted: Bool, shard: LoopShard) {
        self.session = session
        self.shard = shard
        self.isEncrypted = isEncrypted
        output = SocketOutput(queue: shard.flushes)
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
        output.attach(context, isEncrypted: isEncrypted)
    }

    /// Sends the 101 and begins.
    ///
    /// - Parameters:
    ///   - leftover: What the client sent behind its handshake.
    ///   - mustRead: A read was asked for and not passed on while the app decided.
    func start(answer: ByteBuffer, leftover: ByteBuffer, mustRead: Bool) {
        shard.webSocketBegan()
        limitTransport()
        armForOpen()
        output.write(answer)
        if leftover.readableBytes > 0 {
            input = leftover
            shard.metrics.incoming.wireBytes.increment(by: leftover.readableBytes)
        }
        readWithheld = mustRead
        // In its own turn: the session has yet to apply what the app said with its acceptance.
        shard.eventLoop.assumeIsolated().execute { self.resumeReading() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard phase == .open || phase == .awaitingClose else { return }
        var bytes = unwrapInboundIn(data)
        readAt = .now()
        heartbeat.received(at: readAt)
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
        phase = wasOpen ? .leftover : .gone
        shard.metrics.messagesDropped(outbox.removeAll(), reason: "client_gone")
        pendingPong = nil
        closing.transportClosed()
        shard.timers.cancel(timer)
        accountUnsent(0)
        shard.state.socketClosed(hasLeft: hasLeft)
        if wasOpen {
            session.clientLeft()
            accountAssembly(0)
            shard.keep(self)
            takeLeftover()
            if phase == .leftover { armTimer(after: ServerConfiguration.leftoverPatience) }
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

    private func process() {
        guard !isProcessing, var bytes = input else { return }
        isProcessing = true
        input = nil
        var sawMessage = false
        do {
            while phase == .open || phase == .awaitingClose {
                if phase == .open, session.mustPauseReading { break }
                guard let event = try reader.next(from: &bytes) else { break }
                if case .message = event {
                    sawMessage = true
                    heartbeat.receivedMessage(at: readAt)
                }
                handle(event)
                if bytes.readableBytes == 0 { break }
            }
        } catch {
            fail(error)
        }
        isProcessing = false
        keep(bytes)
        watchAssembly(restarted: sawMessage)
    }

    /// The messages that back-pressure held up came before the client's end and still count, under the same limits.
    private func takeLeftover() {
        guard phase == .leftover, !isProcessing else { return }
        isProcessing = true
        defer { isProcessing = false }
        var bytes = input ?? ByteBuffer()
        input = nil
        while phase == .leftover {
            if session.mustPauseLeftover, bytes.readableBytes > 0 {
                input = bytes
                accountLeftover(bytes.readableBytes)
                return
            }
            guard let event = try? reader.next(from: &bytes) else { break }
            switch event {
            case .message(let kind, let payload):
                session.received(kind == .text ? .text : .binary, payload)
            case .close(let code, let reason):
                endLeftover()
                session.transportEnded(code: (code ?? .noStatus).rawValue, reason: reason, initiator: .client)
            case .ping, .pong:
                break
            }
        }
        endLeftover()
        session.transportEnded(code: 1006, reason: "", initiator: .network)
    }

    /// Nobody asks for the rest of the input any more; what is whole in it counts as dropped.
    private func discardLeftover(reason: String) {
        var bytes = input ?? ByteBuffer()
        var dropped = 0
        while let event = try? reader.next(from: &bytes) {
            if case .message = event { dropped += 1 }
        }
        shard.metrics.messagesDropped(dropped, reason: reason)
        endLeftover()
    }

    private func endLeftover() {
        guard phase == .leftover else { return }
        phase = .gone
        input = nil
        shard.timers.cancel(timer)
        accountLeftover(0)
        shard.release(self)
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
        case .pong(let payload):
            noteRoundTrip(payload)
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

    // MARK: Output

    func send(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard phase == .open else {
            shard.metrics.messagesDropped(1, reason: "client_gone")
            return
        }
        hasSentSinceBeat = true
        if output.isWritable, outbox.isEmpty {
            let message = frame(format, payload)
            write(message)
            if !output.isWritable { accountUnsent(unsentBytes) }
        } else if hasRoom(for: payload.readableBytes + Outbox.messageOverhead) {
            outbox.append(frame(format, payload, mayBeDropped: true).compacted)
            accountUnsent(unsentBytes)
        }
    }

    func send(_ message: SharedMessage, at cursor: StreamCursor?, _ action: SlowSubscriberAction?) -> Bool {
        guard phase == .open else { return false }
        hasSentSinceBeat = true
        if output.isWritable, outbox.isEmpty {
            write(frame(message))
            if !output.isWritable { accountUnsent(unsentBytes) }
            return true
        }
        let byteCount = message.payload.readableBytes + Outbox.messageOverhead
        guard hasRoom(for: byteCount, action, of: message.channel) else { return false }
        var waiting = frame(message, mayBeDropped: true)
        waiting.channel = message.channel
        outbox.append(waiting)
        accountUnsent(unsentBytes)
        return true
    }

    var hasUnsent: Bool { unsentBytes > 0 }

    func resume(_ missed: MissedEvents) {}

    /// The frame that others get too, unless the messages of this connection lean on one another.
    private func frame(_ message: SharedMessage, mayBeDropped: Bool = false) -> Outbox.Message {
        guard compressor?.shouldCompress(byteCount: message.payload.readableBytes) == true else {
            return Outbox.Message(header: message.plainFrame, payload: nil)
        }
        guard compressor?.isStateless == true, let window = compressor?.window else {
            return frame(message.format, message.payload, mayBeDropped: mayBeDropped)
        }
        let frame = message.frame(windowBits: window) { body in
            compressor?.compress(message.payload, into: &body) == true
        }
        return Outbox.Message(header: frame, payload: nil)
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
        // Exactly as large as needed: it may wait, and a shared buffer that is larger would wait with it.
        let isWhole = body.readableBytes <= Self.copyThreshold
        let header = FrameEncoder.headerLength(payloadLength: body.readableBytes)
        var frame = ByteBufferAllocator().buffer(capacity: header + (isWhole ? body.readableBytes : 0))
        if isWhole {
            FrameEncoder.write(opcode, payload: body, compressed: isCompressed, into: &frame)
            return Outbox.Message(header: frame, payload: nil)
        }
        FrameEncoder.writeHeader(
            opcode,
            payloadLength: body.readableBytes,
            compressed: isCompressed,
            into: &frame
        )
        return Outbox.Message(header: frame, payload: body)
    }

    private func write(_ message: Outbox.Message) { write(message.header, message.payload) }

    /// Hands waiting messages to the channel, as many as it takes; all of them when nothing may stay behind.
    private func sendWaiting(all: Bool = false) {
        while all || output.isWritable, let message = outbox.popFirst() { write(message) }
        output.flush()
    }

    private func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        heartbeat.sent(at: .now())
        shard.metrics.outgoing.wireBytes.increment(by: bytes.readableBytes + (rest?.readableBytes ?? 0))
        output.write(bytes, rest)
    }

    /// A client that does not read may not make us hold more than its budget.
    private func hasRoom(
        for byteCount: Int,
        _ action: SlowSubscriberAction? = nil,
        of channel: ChannelName? = nil
    ) -> Bool {
        let settings = shard.configuration.settings
        let decision = outbox.makeRoom(
            for: byteCount,
            of: channel,
            beside: output.unsentBytes,
            limit: settings.maxSendBufferBytes,
            action ?? SlowSubscriberAction(settings.slowClientAction)
        )
        for _ in 0..<decision.dropped { dropped(decision.action.rawValue) }
        switch decision.answer {
        case .fits: return true
        case .drop:
            dropped(decision.action.rawValue)
            return false
        case .close:
            shard.metrics.slowClient(action: decision.action.rawValue)
            isTooSlow = true
            shard.metrics.messagesDropped(outbox.removeAll() + 1, reason: "slow_client")
            session.close(code: CloseCode.policyViolation.rawValue, reason: "the client reads too slowly")
            return false
        }
    }

    private func dropped(_ action: String) {
        shard.metrics.slowClient(action: action)
        shard.metrics.messagesDropped(1, reason: "slow_client")
    }

    private var unsentBytes: Int { output.unsentBytes + outbox.byteCount }

    // MARK: Closing

    /// The app has decided about a client that had said who it is on the open socket.
    func handshakeDecided(_ decision: HandshakeDecision) {
        switch decision {
        case .accept:
            shard.metrics.count(.accepted)
            // In its own turn: the session has yet to apply what the app said with its acceptance.
            shard.eventLoop.assumeIsolated().execute { self.resumeReading() }
        case .relay(let head, _):
            shard.metrics.count(.appRefused)
            let failure = DeliveryFailure.status(head.status)
            if head.status >= 500 {
                close(code: failure.closeCode, reason: failure.closeReason)
            } else {
                close(code: 4403, reason: "the application refuses the connection")
            }
        case .fail(let failure):
            shard.metrics.count(.appFailed)
            close(code: failure.closeCode, reason: failure.closeReason)
        case .refuse(let refusal, let result):
            shard.metrics.count(result)
            switch result {
            case .draining: close(code: 1012, reason: refusal.sentence)
            case .connectionLimit where refusal.status == 429: close(code: 1008, reason: refusal.sentence)
            case .auth: close(code: 4403, reason: refusal.sentence)
            default: close(code: CloseCode.tryAgainLater.rawValue, reason: refusal.sentence)
            }
        }
    }

    func close(code: UInt16, reason: String) {
        if phase == .leftover, !isProcessing { discardLeftover(reason: "closed") }
        guard phase == .open, let code = CloseCode(sendable: Int(code)),
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
            session.breached()
            sendClose(code, violation.reason)
            linger()
            session.transportEnded(code: code.rawValue, reason: violation.reason, initiator: .server)
        case .closeNow: linger()
        case .ignore: break
        }
    }

    private func sendClose(_ code: CloseCode?, _ reason: String) {
        sendWaiting(all: true)
        var frame = ByteBufferAllocator().buffer(capacity: 2 + 2 + reason.utf8.count)
        FrameEncoder.writeClose(code, reason: reason, into: &frame)
        write(frame)
        output.flush()  // our end may follow
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
        if phase == .leftover { return takeLeftover() }
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
        case .leftover:
            // Nobody is there whom a rate could slow down, and the app waits for the end.
            guard session.isThrottled else { return now + ServerConfiguration.leftoverPatience }
            discardLeftover(reason: "rate_limited")
            session.transportEnded(code: 1006, reason: "", initiator: .network)
            return nil
        case .gone:
            return nil
        }
    }

    private func armTimer(after delay: TimeAmount) {
        shard.timers.arm(timer, owner: self, at: .now() + delay)
    }

    private func armForOpen() {
        shard.timers.arm(timer, owner: self, at: nextDeadlineWhenOpen)
    }

    /// Deadlines that have passed already under the new settings are spread, or all sockets would be pinged at once.
    func settingsChanged() {
        guard phase == .open else { return }
        let span = min(shard.configuration.heartbeat.pingInterval ?? .seconds(2), .seconds(2))
        let spread = NIODeadline.now() + .nanoseconds(Int64(Double(span.nanoseconds) * .random(in: 0..<1)))
        shard.timers.arm(timer, owner: self, at: max(nextDeadlineWhenOpen, spread))
    }

    private var nextDeadlineWhenOpen: NIODeadline {
        let beat = heartbeat.nextDeadline(shard.configuration.heartbeat)
        return assemblyDeadline.map { min($0, beat) } ?? beat
    }

    private func assemblyTimedOut(at now: NIODeadline) {
        if session.mustPauseReading {
            // It is us who do not read.
            assemblyDeadline = now + shard.configuration.settings.messageAssemblyTimeout
            return
        }
        assemblyDeadline = nil
        shard.metrics.limited("message_assembly_timeout", action: "closed")
        session.close(code: CloseCode.policyViolation.rawValue, reason: "the message took too long")
    }

    // MARK: Heartbeat

    private func beat(at now: NIODeadline) {
        // Nothing but pings can wait where nothing was sent; most sockets are idle.
        let unsent = hasSentSinceBeat || unsentAtLastBeat > 0 ? unsentBytes + bytesInKernel : 0
        hasSentSinceBeat = false
        let step = heartbeat.deadlineReached(
            at: now,
            isReading: !session.mustPauseReading,
            hasProgressed: unsent < unsentAtLastBeat,
            policy: shard.configuration.heartbeat
        )
        unsentAtLastBeat = unsent
        switch step {
        case .wait:
            break
        case .sendPing:
            sendPing()
        case .closeUnresponsive:
            shard.metrics.pongTimeouts.increment()
            session.close(code: CloseCode.goingAway.rawValue, reason: "no answer to a ping")
        case .closeIdle:
            shard.metrics.limited("client_idle_timeout", action: "closed")
            session.close(code: CloseCode.goingAway.rawValue, reason: "no message for too long")
        case .closeAged:
            shard.metrics.limited("max_connection_age", action: "closed")
            session.close(code: CloseCode.goingAway.rawValue, reason: "the connection is old; connect again")
        }
    }

    /// What the kernel has queued and the client has not taken, in bytes of memory; 0 where it cannot be told. A slow
    /// reader may take minutes for it, with our pings behind.
    private var bytesInKernel: Int {
        #if os(Linux)
            typealias Counters = (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
            guard let provider = context?.channel as? any SocketOptionProvider else { return 0 }
            var queued = 0
            // SO_MEMINFO; the sixth is SK_MEMINFO_WMEM_QUEUED. On the loop the answer is there at once.
            let answer: EventLoopFuture<Counters> = provider.unsafeGetSocketOption(
                level: .socket,
                name: .init(rawValue: 55)
            )
            answer.assumeIsolated().whenSuccess { queued = Int($0.5) }
            return queued
        #else
            return 0
        #endif
    }

    /// A client that leaves bytes unread needs no ping to be found out: they stand for it, and behind them it would
    /// only pile up.
    private func sendPing() {
        guard output.isWritable, outbox.isEmpty else { return }
        shard.scratch.clear()
        FrameEncoder.writeHeader(.ping, payloadLength: 4, into: &shard.scratch)
        shard.scratch.writeInteger(heartbeat.pingNumber)
        write(shard.scratch)
        output.flush()
        shard.metrics.pingsSent.increment()
    }

    private func noteRoundTrip(_ payload: ByteBuffer) {
        guard payload.readableBytes == 4, let number = payload.getInteger(at: payload.readerIndex, as: UInt32.self),
            let time = heartbeat.receivedPong(number, at: readAt)
        else { return }
        shard.metrics.pingRoundTrip.recordNanoseconds(time.nanoseconds)
    }

    private func limitTransport() {
        guard let options = context?.channel.syncOptions else { return }
        TransportLimits.set(on: options, shard.configuration)
        TransportLimits.setWindow(on: options, maxPendingBytes: shard.configuration.settings.maxPendingBytes)
    }

    // MARK: Accounts

    private func accountAssembly(_ bytes: Int) {
        if bytes != accountedAssembly {
            shard.state.assemblyBytes.adjust(by: bytes - accountedAssembly)
            accountedAssembly = bytes
        }
    }

    /// What a client that has gone has left counts like what waits for the app: it does.
    private func accountLeftover(_ bytes: Int) {
        shard.state.pendingBytes.adjust(by: bytes - accountedLeftover)
        accountedLeftover = bytes
    }

    private func accountUnsent(_ bytes: Int) {
        if bytes != accountedUnsent {
            shard.state.adjustUnsent(by: bytes - accountedUnsent)
            accountedUnsent = bytes
        }
    }
}

extension SlowSubscriberAction {
    init(_ action: SlowClientAction) {
        switch action {
        case .close: self = .close
        case .dropOldest: self = .dropOldest
        case .dropNewest: self = .dropNewest
        }
    }
}
