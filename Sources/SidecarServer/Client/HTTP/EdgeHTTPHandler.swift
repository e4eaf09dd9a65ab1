import HTTP1
import Logging
import NIOCore
import SidecarCore

/// A client's connection while it speaks HTTP/1.x: reads requests, passes each to where it is handled, and writes the
/// responses.
///
/// After an upgrade ``WebSocketHandler`` takes its place. Every response to an upgrade other than 101, and every
/// refusal, is the last one of the connection.
final class EdgeHTTPHandler: ChannelDuplexHandler, RemovableChannelHandler, SendBufferHolder, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waiting for a request, or in the middle of its head.
        case readingHead
        /// The app decides about a handshake.
        case upgrading(UpgradeAttempt)
        /// The body of a request is read whole.
        case holding(HeldBody)
        /// A POST of the client protocol waits for its answer.
        case posting(PostExchange)
        /// A request is with the app.
        case proxying(ProxyExchange)
        /// The last response has been sent; input is discarded until the client ends its half too.
        case lingering
        case gone
    }

    /// How much a client may send ahead of the response that it waits for, in bytes.
    static let maxPipelinedBytes = 64 << 10

    let loop: ClientContext
    var context: ChannelHandlerContext?
    var reader: HTTPRequestReader
    var phase = Phase.readingHead
    let timer = TimerEntry()
    var client = ClientIdentity(address: "", scheme: "http")
    var peer = ClientPeer(nil)
    private var hasBegun = false
    /// Whether TLS is spoken on the connection itself.
    var isEncrypted = false
    var readWithheld = false
    var isPumping = false
    var headBegan = false
    var requestsServed = 0
    /// Writes the response to the request in flight.
    var response = HTTPResponseWriter()
    var hasLeft = false
    var linger = Linger(patience: ServerConfiguration.clientStall)
    /// No more requests after the one in flight.
    var isClosingSoon = false
    var accountedUnsent = 0

    init(loop: ClientContext) {
        self.loop = loop
        reader = HTTPRequestReader(limits: loop.configuration.requestLimits)
    }

    /// True while a request or a handshake is in flight.
    var isBusy: Bool {
        switch phase {
        case .readingHead, .gone: false
        case .upgrading, .holding, .posting, .proxying, .lingering: true
        }
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        loop.registry.remove(self)
        loop.timers.cancel(timer)
        accountUnsent(0)
        if !hasBegun { loop.state.descriptors.adjust(by: -1) }  // it ended before it was up
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun else { return }
        hasBegun = true
        let open = loop.state.socketOpened()
        loop.registry.insert(self)
        armTimer(after: loop.configuration.settings.handshakeTimeout)
        peer = ClientPeer(context.remoteAddress)
        client = peer.identity(scheme)
        guard countSocket(context) else { return }
        if open > loop.configuration.maxConnections, context.channel.isActive { refuseAsFull() }
    }

    /// There are `MAX_CONNECTIONS`.
    func refuseAsFull() {
        loop.metrics.limited(.maxConnections, action: .refused)
        noteRefused(.maxConnections, ["limit": .stringConvertible(loop.configuration.maxConnections)])
        refuse(
            Refusal(
                status: 503,
                sentence: "The server has no room for more connections.",
                reason: .connectionLimit,
                retryAfter: ServerConfiguration.retryAfter()
            ),
            handshake: .connectionLimit
        )
    }

    /// Counts the connection with those of its address; false when there are too many, and the connection closes
    /// without a response.
    private func countSocket(_ context: ChannelHandlerContext) -> Bool {
        switch loop.admission.sessions.slots.countSocket(of: peer.address) {
        case .notCounted:
            return true
        case .counted(let bucket):
            // Also after another handler has replaced this one.
            context.channel.closeFuture.whenComplete { _ in bucket.close() }
            return true
        case .refused:
            phase = .lingering
            endNow()
            return false
        }
    }

    var scheme: ClientScheme { isEncrypted ? .https : .http }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ProxyHeaderEvent else {
            context.fireUserInboundEventTriggered(event)
            return
        }
        switch event {
        case .named(nil): break
        case .named(let source?):
            peer = ClientPeer(namedByProxy: source)
            client = peer.identity(scheme)
            _ = countSocket(context)
        case .refused(let why): rejectProxyHeader(why)
        }
    }

    /// Without its header the client's address is unknown, and the peer would not understand a response in HTTP.
    private func rejectProxyHeader(_ why: String) {
        guard case .readingHead = phase else { return }
        loop.metrics.httpRefused(.proxyProtocol)
        noteRefused(.proxyProtocol, ["why": "\(why)"])
        phase = .lingering
        endNow()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch phase {
        case .lingering, .gone: return
        case .readingHead, .upgrading, .holding, .posting, .proxying: break
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
        loop.state.socketClosed(hasLeft: hasLeft)
        loop.registry.remove(self)
        loop.timers.cancel(timer)
        accountUnsent(0)
        switch ended {
        case .proxying(let exchange): exchange.clientGone()
        case .upgrading(let attempt): attempt.clientGone(leaving: reader.takeRemaining())
        case .posting(let exchange): exchange.clientGone()
        case .readingHead, .holding, .lingering, .gone: break
        }
        context.fireChannelInactive()
    }
}
