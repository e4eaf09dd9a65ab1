internal import NIOCore
internal import NIOHTTPTypes

/// Closes a control connection that takes too long for one exchange.
///
/// An exchange runs from the accept, or from the end of the answer before, to the end of its own answer. One absolute
/// time for all of it leaves no place to stall: not a head or body sent byte by byte, not an answer that isn't read, and
/// no idle connection. While the listener shuts down the rest of an exchange gets a shorter time.
final class ExchangeDeadlineHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limit: TimeAmount
    private let limitInShutdown: TimeAmount
    private let limiter: ConnectionLimiter
    private var timer: Scheduled<Void>?

    init(limit: TimeAmount, limitInShutdown: TimeAmount, limiter: ConnectionLimiter) {
        self.limiter = limiter
        self.limit = limit
        self.limitInShutdown = limitInShutdown
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.begin(context)
    }

    func channelActive(context: ChannelHandlerContext) {
        self.begin(context)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .end = self.unwrapInboundIn(data) { self.limiter.isBusy(context.channel) }
        context.fireChannelRead(data)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.limiter.left(context.channel)
        self.timer?.cancel()
        self.timer = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.limiter.left(context.channel)
        self.timer?.cancel()
        self.timer = nil
        context.fireChannelInactive()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = self.unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        // The exchange ends when the last byte has left, not when it was handed to us.
        let written = promise ?? context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenSuccess {
            self.begin(context)
        }
        context.write(data, promise: written)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is ChannelShouldQuiesceEvent {
            self.restart(self.limitInShutdown, context: context)
        }
        context.fireUserInboundEventTriggered(event)
    }

    /// Another exchange may begin.
    private func begin(_ context: ChannelHandlerContext) {
        self.restart(self.limit, context: context)
        if context.channel.isActive { self.limiter.waits(context.channel) }
    }

    private func restart(_ limit: TimeAmount, context: ChannelHandlerContext) {
        self.timer?.cancel()
        self.timer = nil
        guard context.channel.isActive else { return }
        self.timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) {
            context.close(promise: nil)
        }
    }
}
