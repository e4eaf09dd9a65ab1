public import Logging
public import NIOCore

/// Keeps a listening socket alive, and quiet, when `accept` fails, as it does while no descriptor is left.
///
/// Without it the server takes the error for the end of its connections and stops, just when it is needed most. NIO's
/// `AcceptBackoffHandler` delays the next `read`, but after a failed accept the last one is still pending, so the socket
/// stays registered and the loop spins on it. Turning auto-read off is what takes it out of the selector.
public final class AcceptErrorHandler: ChannelDuplexHandler, RemovableChannelHandler {
    /// Accepted connections.
    public typealias InboundIn = any Channel
    /// Accepted connections, passed on.
    public typealias InboundOut = any Channel
    /// Nothing is written to a listener.
    public typealias OutboundIn = Never
    /// Nothing is written to a listener.
    public typealias OutboundOut = Never

    private let mayAccept: () -> Bool
    private let didAccept: () -> Void
    private var pace: AcceptPace?
    private let listener: String
    private let pause: TimeAmount
    private let logger: Logger
    private var resumption: Scheduled<Void>?
    /// One line a minute tells of any number of failures.
    private var loggedAt: NIODeadline?

    /// A handler for one listening socket, to stand first in its pipeline.
    ///
    /// - Parameters:
    ///   - listener: What the log line calls the socket.
    ///   - pause: How long to wait before the next try.
    ///   - mayAccept: Asked before each read; false pauses too, so that descriptors never run out altogether.
    ///   - pace: How fast connections are accepted at most; the others wait in the backlog.
    ///   - didAccept: Called for each connection, before its own event loop hears of it.
    public init(
        listener: String,
        pause: TimeAmount,
        logger: Logger,
        mayAccept: @escaping () -> Bool = { true },
        pace: AcceptPace? = nil,
        didAccept: @escaping () -> Void = {}
    ) {
        self.mayAccept = mayAccept
        self.didAccept = didAccept
        self.pace = pace
        self.listener = listener
        self.pause = pause
        self.logger = logger
    }

    /// Pauses after a failed accept.
    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let failure = error as? IOError else {
            context.fireErrorCaught(error)
            return
        }
        self.rest(context, because: SystemErrorText.text(of: failure.errnoCode))
    }

    private func rest(_ context: ChannelHandlerContext, because reason: String) {
        let now = NIODeadline.now()
        if self.loggedAt.map({ now - $0 > .minutes(1) }) ?? true {
            self.loggedAt = now
            self.logger.error(
                "cannot accept connections",
                metadata: [
                    "listener": "\(self.listener)", "why": "\(reason)",
                    "retry": "every \(self.pause.nanoseconds / 1_000_000) ms",
                ]
            )
        }
        self.rest(context, for: self.pause)
    }

    private func rest(_ context: ChannelHandlerContext, for time: TimeAmount) {
        guard self.resumption == nil, context.channel.isActive else { return }
        self.scheduleResumption(context, in: time)
        self.setAutoRead(false, context: context)
    }

    private func scheduleResumption(_ context: ChannelHandlerContext, in time: TimeAmount) {
        self.resumption = context.eventLoop.assumeIsolated().scheduleTask(in: time) {
            // Turning auto-read on reads at once, past this handler.
            guard self.mayAccept() else {
                self.scheduleResumption(context, in: self.pause)
                return
            }
            self.resumption = nil
            self.setAutoRead(true, context: context)
        }
    }

    /// A read during the pause would put the socket back into the selector.
    public func read(context: ChannelHandlerContext) {
        guard self.resumption == nil else { return }
        if !self.mayAccept() {
            self.rest(context, because: "too few file descriptors are left")
        } else if let wait = self.pace?.wait(at: .now()) {
            self.rest(context, for: wait)
        } else {
            context.read()
        }
    }

    /// A connection was accepted.
    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.didAccept()
        self.pace?.accepted()
        context.fireChannelRead(data)
    }

    /// Ends the pause with the socket.
    public func handlerRemoved(context: ChannelHandlerContext) {
        self.resumption?.cancel()
        self.resumption = nil
    }

    private func setAutoRead(_ enabled: Bool, context: ChannelHandlerContext) {
        guard context.channel.isActive else { return }
        // Fails only for a channel that is closed, which reads nothing anyway.
        try? context.channel.syncOptions?.setOption(.autoRead, value: enabled)
    }
}
