import HTTP1
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// A client's connection while it speaks HTTP: it reads requests and sends each to where it belongs; handshakes are in
/// EdgeUpgrade.
///
/// An upgrade ends this handler's time: ``WebSocketHandler`` takes its place. Every answer to an upgrade other than
/// 101, and every refusal, is the last one of the connection.
final class EdgeHTTPHandler: ChannelDuplexHandler, RemovableChannelHandler, SendBufferHolder, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waiting for a request, or in the middle of its head.
        case readingHead
        /// The app decides about a handshake.
        case upgrading(UpgradeAttempt)
        /// The body of a request is read before the app gets it.
        case inspecting(BodyInspection)
        /// A request is with the app.
        case proxying(ProxyExchange)
        /// The last answer is out; input is discarded until the client ends too.
        case lingering
        case gone
    }

    /// What a client may send ahead of the answer that it waits for, in bytes.
    private static let maxPipelinedBytes = 64 << 10

    let shard: LoopShard
    var context: ChannelHandlerContext?
    var reader: HTTPRequestReader
    var phase = Phase.readingHead
    let timer = TimerEntry()
    var client = ClientIdentity(address: "", scheme: "http")
    private var peer: IPAddress?
    private var isUnixPeer = false
    private var isNamedByProxy = false
    private var hasBegun = false
    /// Whether TLS is spoken on the connection itself.
    var isEncrypted = false
    var readWithheld = false
    private var isPumping = false
    private var headBegan = false
    private var requestsServed = 0
    private var isHeadRequest = false
    var hasLeft = false
    var flushWatch = FlushWatch(patience: ServerConfiguration.clientStall)
    private var isClosingSoon = false
    private var accountedUnsent = 0

    init(shard: LoopShard) {
        self.shard = shard
        reader = HTTPRequestReader(limits: shard.configuration.requestLimits)
    }

    /// True while a request or a handshake is under way.
    var isBusy: Bool {
        switch phase {
        case .readingHead, .gone: false
        case .upgrading, .inspecting, .proxying, .lingering: true
        }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        shard.remove(self)
        shard.timers.cancel(timer)
        accountUnsent(0)
        if !hasBegun { shard.state.descriptors.adjust(by: -1) }  // it ended before it was up
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun else { return }
        hasBegun = true
        let open = shard.state.socketOpened()
        shard.insert(self)
        armTimer(after: shard.configuration.settings.handshakeTimeout)
        notePeer(context.remoteAddress)
        guard countSocket(context) else { return }
        if open > shard.configuration.maxConnections, context.channel.isActive {
            shard.metrics.limited("max_connections", action: "refused")
            noteRefused(.maxConnections, ["limit": .stringConvertible(shard.configuration.maxConnections)])
            refuse(
                Refusal(
                    status: 503,
                    sentence: "The server has no room for more connections.",
                    reason: "connection_limit",
                    retryAfter: ServerConfiguration.retryAfter()
                ),
                handshake: .connectionLimit
            )
        }
    }

    /// Counts the connection with those of its address; false when that has too many, and the connection closes without
    /// an answer.
    private func countSocket(_ context: ChannelHandlerContext) -> Bool {
        switch shard.admission.countSocket(of: peer) {
        case .notCounted:
            return true
        case .counted(let bucket):
            // Whatever ends the connection, and whichever handler is there by then.
            context.channel.closeFuture.whenComplete { _ in bucket.close() }
            return true
        case .refused:
            phase = .lingering
            endNow()
            return false
        }
    }

    private var scheme: ClientScheme { isEncrypted ? .https : .http }

    private func notePeer(_ address: SocketAddress?) {
        peer = address.flatMap { IPAddress($0) }
        isUnixPeer = address != nil && peer == nil
        client = ClientIdentity(
            address: peer.map { "\($0)" } ?? (isUnixPeer ? "unix:" : "unknown"),
            scheme: scheme.rawValue
        )
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ProxyHeaderEvent else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        switch event {
        case .named(nil): break
        case .named(let source?):
            peer = source
            isUnixPeer = false
            isNamedByProxy = true
            client = ClientIdentity(address: "\(source)", scheme: scheme.rawValue)
            _ = countSocket(context)
        case .refused(let why): rejectProxyHeader(why)
        }
    }

    /// Without its header nobody can say who the client is, and it would not understand an answer in HTTP either.
    private func rejectProxyHeader(_ why: String) {
        guard case .readingHead = phase else { return }
        shard.metrics.httpRefused("proxy_protocol")
        noteRefused(.proxyProtocol, ["why": "\(why)"])
        phase = .lingering
        endNow()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch phase {
        case .lingering, .gone: return
        case .readingHead, .upgrading, .inspecting, .proxying: break
        }
        var bytes = unwrapInboundIn(data)
        reader.append(&bytes)
        pump()
    }

    func read(context: ChannelHandlerContext) {
        if wantsInput {
            context.read()
        } else {
            readWithheld = true
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { accountUnsent(0) }
        if case .proxying(let exchange) = phase {
            exchange.clientWritabilityChanged(isWritable: context.channel.isWritable)
        }
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let ended = phase
        phase = .gone
        shard.state.socketClosed(hasLeft: hasLeft)
        shard.remove(self)
        shard.timers.cancel(timer)
        accountUnsent(0)
        switch ended {
        case .proxying(let exchange): exchange.clientGone()
        case .upgrading(let attempt): attempt.clientGone(leaving: reader.takeRemaining())
        case .readingHead, .inspecting, .lingering, .gone: break
        }
        context.fireChannelInactive()
    }

    // MARK: Requests

    private var wantsInput: Bool {
        switch phase {
        case .readingHead, .inspecting, .lingering, .gone: true
        case .upgrading: reader.bufferedBytes < Self.maxPipelinedBytes
        case .proxying(let exchange):
            if exchange.isRequestWhole {
                // Reading on is how we notice that the client has gone.
                reader.bufferedBytes < Self.maxPipelinedBytes
            } else {
                exchange.takesBody
            }
        }
    }

    /// Takes parts out of what has arrived, as long as somebody wants them.
    func pump() {
        guard !isPumping else { return }
        isPumping = true
        defer { isPumping = false }
        do throws(HTTPParseError) {
            while try takePart() {}
        } catch {
            parseFailed(error)
        }
        if readWithheld, wantsInput {
            readWithheld = false
            context?.read()
        }
    }

    /// Takes one part; false when there is none or nobody wants it.
    private func takePart() throws(HTTPParseError) -> Bool {
        switch phase {
        case .upgrading, .lingering, .gone:
            return false
        case .readingHead:
            guard case .head(let head)? = try reader.next() else {
                noteHeadBegan()
                return false
            }
            received(head)
            return true
        case .inspecting(let inspection):
            return try inspect(inspection)
        case .proxying(let exchange):
            guard !exchange.isRequestWhole, exchange.takesBody, let part = try reader.next() else { return false }
            switch part {
            case .head: return false  // the reader gives a head only behind an end
            case .body(let bytes): exchange.sendBody(bytes)
            case .end(let trailers): exchange.sendEnd(trailers)
            }
            noteProgress()
            return true
        }
    }

    /// From the first byte of a later request, its head has as long as the first one had.
    private func noteHeadBegan() {
        guard requestsServed > 0, !headBegan, reader.hasStartedRequest else { return }
        headBegan = true
        armTimer(after: shard.configuration.settings.handshakeTimeout)
    }

    private func received(_ head: HTTPRequestHead) {
        headBegan = false
        isHeadRequest = head.method == "HEAD"
        requestsServed += 1
        shard.timers.cancel(timer)
        let resolved = shard.admission.resolve(
            peer: peer,
            isUnixSocket: isUnixPeer,
            isNamedByProxy: isNamedByProxy,
            scheme: scheme,
            headers: head.headers
        )
        client = resolved.identity
        switch shard.configuration.router.route(head) {
        case .refuse(let refusal):
            refuse(refusal, of: resolved, isHandshake: head.headers.contains("upgrade"))
        case .upgrade:
            upgrade(head, resolved)
        case .eventStream:
            openStream(head, resolved)
        case .passThrough(let target, let closeAfterwards, let inspects):
            let keepAlive = head.keepAlive && !closeAfterwards
            if inspects {
                beginInspection(head, target: target, keepAlive: keepAlive)
            } else {
                passOn(ProxyExchange(head: head, target: target, client: client, keepAlive: keepAlive, handler: self))
            }
        }
    }

    func passOn(_ exchange: ProxyExchange) {
        phase = .proxying(exchange)
        exchange.start()
    }

    /// Refused handshakes count against the rate of handshakes too.
    private func refuse(_ refusal: Refusal, of client: ResolvedClient, isHandshake: Bool) {
        guard isHandshake else { return refuse(refusal) }
        do throws(HandshakeRejection) {
            try shard.admission.count(client)
            refuse(refusal)
        } catch {
            refuse(error.refusal, handshake: error.result)
        }
    }

    private func parseFailed(_ error: HTTPParseError) {
        switch phase {
        case .proxying(let exchange):
            // The body has broken its framing: nobody can say where the next request would begin.
            exchange.clientGone()
            if exchange.isReplyBegun {
                endNow()
                return
            }
        default:
            break
        }
        shard.logger.debug("request refused", metadata: ["client": "\(client.address)", "why": "\(error.sentence)"])
        if let kind = RefusalKind(error) { noteRefused(kind) }
        refuse(Refusal(status: error.status, sentence: error.sentence, reason: "bad_request"))
    }

    // MARK: Answers

    /// Writes towards the client, and what belongs directly behind it; flushing is another call.
    func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        context?.write(wrapOutboundOut(bytes), promise: nil)
        if let rest { context?.write(wrapOutboundOut(rest), promise: nil) }
    }

    func flush() {
        context?.flush()
        // Of what is below the mark nobody tells when it has gone.
        if !isClientWritable { accountUnsent(unsentBytes) }
    }

    var isClientWritable: Bool { context?.channel.isWritable ?? false }

    /// Bytes went from or to the client, so it isn't stalled; while it has nothing to do, nothing can stall.
    func noteProgress() {
        guard case .proxying(let exchange) = phase else { return }
        if exchange.waitsForClient {
            armTimer(after: ServerConfiguration.clientStall)
        } else {
            shard.timers.cancel(timer)
        }
    }

    /// A client was turned away; the operator may want to know.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        shard.admission.refusals.note(kind, client: client.address, more())
    }

    /// Answers a request ourselves and closes.
    func refuse(_ refusal: Refusal, handshake: HandshakeResult? = nil) {
        shard.metrics.httpRefused(refusal.reason)
        if let kind = RefusalKind(refusalReason: refusal.reason) { noteRefused(kind, ["why": "\(refusal.sentence)"]) }
        if let handshake { shard.metrics.count(handshake) }
        shard.scratch.clear()
        PassThroughHeads.writeRefusal(refusal, headOnly: isHeadRequest, into: &shard.scratch)
        finish(with: shard.scratch)
    }

    /// Writes the last answer of this connection.
    func finish(with answer: ByteBuffer) {
        guard let context else { return }
        phase = .lingering  // whoever was asked has answered, even if the client turns out to be gone
        context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        linger()
    }

    /// A pass-through answer is complete.
    func exchangeCompleted(keepAlive: Bool) {
        guard case .proxying = phase else { return }
        guard keepAlive, !isClosingSoon else {
            phase = .lingering
            flush()
            return linger()
        }
        phase = .readingHead
        isHeadRequest = false
        flush()
        guard case .readingHead = phase else { return }  // writing has shown that the client is gone
        armTimer(after: ServerConfiguration.clientKeepAlive)
        pump()
    }

    /// Ends our half and discards the client's until it ends too: closing at once with bytes unread would make
    /// the system send a reset, and the answer would be lost.
    func linger() {
        if case .gone = phase { return }
        phase = .lingering
        if !hasLeft { shard.state.socketLeft() }
        hasLeft = true
        flushWatch.begin(at: .now())
        context?.close(mode: .output, promise: nil)
        armTimer(after: ServerConfiguration.linger)
        if readWithheld {
            readWithheld = false
            context?.read()
        }
    }

    /// Closes without another word: half an answer is out, and only the end can say that it isn't whole.
    func endNow() {
        context?.close(promise: nil)
    }

    /// No more requests after the one under way.
    func drain() {
        isClosingSoon = true
        if case .readingHead = phase, !reader.hasStartedRequest { endNow() }
    }

    /// Whoever still waits for an answer gets one from us.
    func drainIsOver() {
        switch phase {
        case .proxying(let exchange) where !exchange.isReplyBegun:
            exchange.clientGone()
            refuse(.draining)
        case .inspecting: refuse(.draining)
        case .readingHead, .upgrading, .proxying, .lingering, .gone: break
        }
        endNow()
    }

    /// True when the answer under way is the last one.
    var isLastAnswer: Bool { isClosingSoon || shard.state.isDraining }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .readingHead:
            if reader.hasStartedRequest || requestsServed == 0 {
                let sawNothing = !reader.hasStartedRequest
                if sawNothing {
                    shard.metrics.httpRefused("timeout")
                    endNow()
                    return nil
                }
                noteRefused(.handshakeTimeout)
                refuse(
                    Refusal(status: 408, sentence: "The request head took too long.", reason: "timeout"),
                    handshake: .timeout
                )
                return now + ServerConfiguration.linger
            }
            endNow()  // an idle keep-alive connection
        case .proxying(let exchange):
            shard.metrics.httpRefused("client_stalled")
            exchange.clientGone()
            endNow()
        case .lingering:
            if flushWatch.isProgressing(unsentBytes: unsentBytes, at: now) { return now + ServerConfiguration.linger }
            endNow()
        case .inspecting:
            refuse(Refusal(status: 408, sentence: "The body of the request took too long.", reason: "timeout"))
            return now + ServerConfiguration.linger
        case .upgrading(let attempt):
            attempt.admissionTimedOut()
            if case .lingering = phase { return now + ServerConfiguration.linger }
        case .gone:
            break
        }
        return nil
    }

    // MARK: What the client does not take

    var unsentBytes: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func accountUnsent(_ bytes: Int) {
        let old = accountedUnsent
        guard bytes != old else { return }
        accountedUnsent = bytes
        shard.sendBuffers.changed(self, from: old, to: bytes)
    }

    /// Half an answer cannot be dropped: the connection is.
    func giveUpUnsent(beyond share: Int) {
        shard.metrics.slowClient(action: SlowClientAction.close.rawValue)
        if case .proxying(let exchange) = phase { exchange.clientGone() }
        context?.closeAtOnce()
        accountUnsent(0)
    }

    func armTimer(after delay: TimeAmount) {
        shard.timers.arm(timer, owner: self, at: .now() + delay)
    }
}
