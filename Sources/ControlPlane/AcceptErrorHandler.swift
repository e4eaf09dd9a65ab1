internal import Logging
internal import NIOCore

/// Keeps a listening socket alive, and quiet, when `accept` fails, as it does while no descriptor is left.
///
/// Without it the server takes the error for the end of its connections and stops, just when it is needed most. NIO's
/// `AcceptBackoffHandler` delays the next `read`, but after a failed accept the last one is still pending, so the socket
/// stays registered and the loop spins on it. Turning auto-read off is what takes it out of the selector.
final class AcceptErrorHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel
    typealias OutboundIn = Never
    typealias OutboundOut = Never

    private let pause: TimeAmount
    private let logger: Logger
    private var resumption: Scheduled<Void>?
    /// One line tells of any number of failures in a row.
    private var hasLogged = false

    init(pause: TimeAmount, logger: Logger) {
        self.pause = pause
        self.logger = logger
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let failure = error as? IOError else {
            context.fireErrorCaught(error)
            return
        }
        if !self.hasLogged {
            self.hasLogged = true
            self.logger.error(
                "control listener can't accept connections",
                metadata: ["errno": "\(failure.errnoCode)", "retry": "every \(self.pause.nanoseconds / 1_000_000) ms"]
            )
        }
        guard self.resumption == nil, context.channel.isActive else { return }
        self.resumption = context.eventLoop.assumeIsolated().scheduleTask(in: self.pause) {
            self.resumption = nil
            self.setAutoRead(true, context: context)
        }
        self.setAutoRead(false, context: context)
    }

    /// A read during the pause would put the socket back into the selector.
    func read(context: ChannelHandlerContext) {
        if self.resumption == nil {
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.hasLogged = false
        context.fireChannelRead(data)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.resumption?.cancel()
        self.resumption = nil
    }

    private func setAutoRead(_ enabled: Bool, context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        // Fails only for a channel that is closed, which reads nothing anyway.
        try? context.channel.syncOptions?.setOption(.autoRead, value: enabled)
    }
}
