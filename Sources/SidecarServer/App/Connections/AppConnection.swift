import HTTP1
import NIOCore
import NIOSSL
import SidecarCore

/// One request and its reply on a connection to the app.
protocol AppExchange: AnyObject {
    /// True when the reply is no longer awaited; a connection that comes up then goes to the pool.
    var isCancelled: Bool { get }
    /// The connection is ready: write the request.
    func appReady(_ connection: AppConnection)
    /// A part of the reply; after `end` the connection is no longer the exchange's.
    func appReplied(_ part: HTTPReplyPart)
    /// True when a complete reply may be passed as a whole.
    var takesWholeReplies: Bool { get }
    /// The whole reply, if ``takesWholeReplies``; the connection is no longer the exchange's.
    func appReplied(_ head: HTTPReplyHead, _ body: ByteBuffer)
    /// The exchange has ended without a complete reply.
    ///
    /// - Parameter wasStale: The app had already closed the kept-alive connection, so it did not process the request.
    func appFailed(_ failure: DeliveryFailure, wasStale: Bool)
    /// The connection takes bytes again, or no longer.
    func appWritabilityChanged(isWritable: Bool)
    /// A burst of reads is over: flush what was passed on.
    func appReadComplete()
}

extension AppExchange {
    var takesWholeReplies: Bool { false }
    func appReplied(_ head: HTTPReplyHead, _ body: ByteBuffer) {}
}

/// A connection to the app, used by one exchange after another.
final class AppConnection: ChannelDuplexHandler, TimerOwner {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let pool: AppPool
    private let timers: ShardTimers
    private let timer = TimerEntry()
    private let output: SocketOutput
    private let isEncrypted: Bool
    private var reader: HTTPReplyReader
    private var context: ChannelHandlerContext?
    private var exchange: (any AppExchange)?
    private var exchangesServed = 0
    private let madeAt = NIODeadline.now()
    /// When the last reply was complete.
    private(set) var repliedAt = NIODeadline.now()
    private var isRequestWhole = false
    private var replyKeepsAlive = false
    private var readsPaused = false
    private var readWithheld = false
    private var endedUncleanly = false

    init(pool: AppPool, timers: ShardTimers, output: SocketOutput, isEncrypted: Bool, limits: HTTPLimits) {
        self.pool = pool
        self.timers = timers
        self.output = output
        self.isEncrypted = isEncrypted
        self.reader = HTTPReplyReader(limits: limits)
    }

    /// True when it should be replaced by a new connection, so that a change of the app's address is noticed.
    func isOld(at now: NIODeadline) -> Bool { now - madeAt > ServerConfiguration.appConnectionLifetime }
    var isAttached: Bool { output.isAttached }
    var isWritable: Bool { output.isWritable }

    // MARK: For the exchange

    /// Assigns the connection to an exchange.
    func begin(_ exchange: any AppExchange) {
        self.exchange = exchange
        isRequestWhole = false
        replyKeepsAlive = false
        output.hasFlushed = false
        exchange.appReady(self)
    }

    /// Sets the request that the next reply belongs to; call it before the request is written.
    func expectReply(to method: HTTPMethodKind, by deadline: NIODeadline) {
        reader.expectReply(to: method)
        setDeadline(deadline)
    }

    /// Writes a whole request.
    func sendWhole(_ request: ByteBuffer) {
        isRequestWhole = true
        output.write(request)
    }

    /// Writes a whole request that `body` composes.
    func sendWhole(_ body: (inout ByteBuffer) -> Void) {
        isRequestWhole = true
        write(body)
    }

    /// Writes what `body` composes.
    func write(_ body: (inout ByteBuffer) -> Void) { output.compose(body) }

    /// Writes a part of a request, and what has to follow it directly.
    func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) { output.write(bytes, rest) }

    /// No other request follows the one in flight.
    func retire() { replyKeepsAlive = false }

    /// The request has been written completely.
    func requestIsWhole() { isRequestWhole = true }

    /// Changes the deadline of the exchange; nil for none.
    func setDeadline(_ deadline: NIODeadline?) {
        if let deadline {
            timers.arm(timer, owner: self, at: deadline)
        } else {
            timers.cancel(timer)
        }
    }

    func pauseReading() {
        readsPaused = true
    }

    func resumeReading() {
        readsPaused = false
        if readWithheld {
            readWithheld = false
            context?.read()
        }
    }

    /// Ends the exchange and the connection; the exchange is not called any more.
    func abort() {
        if exchange != nil { pool.exchangeEnded() }
        exchange = nil
        close()
    }

    // MARK: For the pool

    /// The connection is idle until `deadline`.
    func rest(until deadline: NIODeadline) {
        resumeReading()
        setDeadline(deadline)
    }

    func close() {
        timers.cancel(timer)
        pool.forget(self)
        output.detach()  // nothing more is written, whatever closing leads to
        context?.close(promise: nil)
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        output.attach(context, isEncrypted: isEncrypted)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        output.detach()
        self.context = nil
    }

    func read(context: ChannelHandlerContext) {
        if readsPaused {
            readWithheld = true
        } else {
            context.read()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // Bytes without a request (RFC 9112 §9.2), which may arrive before the next request has been written.
        guard exchange != nil, output.hasFlushed else {
            fail(.connectionLost, wasStale: true)
            close()
            return
        }
        var bytes = unwrapInboundIn(data)
        reader.append(&bytes)
        takeParts()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        exchange?.appReadComplete()
        read(context: context)  // costs less than asking first whether to read
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        exchange?.appWritabilityChanged(isWritable: context.channel.isWritable)
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Without close_notify, a body that only the end delimits may have been cut by anybody on the way.
        if let error = error as? NIOSSLError, case .uncleanShutdown = error { endedUncleanly = true }
        if let error = error as? NIOSSLError, case .handshakeFailed = error {
            fail(.connect("the TLS handshake failed: \(PlainError.sentence(for: error))."))
        } else if error is NIOSSLExtraError {
            fail(.connect("the TLS handshake failed: \(PlainError.sentence(for: error))."))
        }
        close()
    }

    func channelInactive(context: ChannelHandlerContext) {
        output.detach()
        timers.cancel(timer)
        pool.forget(self)
        pool.connectionClosed()
        if let exchange {
            let wasStale = exchangesServed > 0 && !reader.hasBegun
            let part = endedUncleanly ? nil : try? reader.endOfInput()
            if let part {
                finish()
                exchange.appReplied(part)
            } else {
                fail(.connectionLost, wasStale: wasStale)
            }
        }
        context.fireChannelInactive()
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        fail(.timeout)
        close()
        return nil
    }

    // MARK: Replies

    private func takeParts() {
        do {
            guard let exchange else { return }
            while self.exchange === exchange, let part = try reader.next() {
                switch part {
                case .head(let head):
                    replyKeepsAlive = head.keepAlive
                    if exchange.takesWholeReplies, let body = reader.takeWholeBody() {
                        finish()
                        return exchange.appReplied(head, body)
                    }
                case .end:
                    finish()
                    return exchange.appReplied(part)
                case .informational, .body:
                    break
                }
                exchange.appReplied(part)
            }
        } catch {
            fail(.badReply(error.sentence))
            close()
        }
    }

    /// The reply is complete. The connection goes back before the exchange goes on, so that it can be used at once.
    private func finish() {
        exchange = nil
        pool.exchangeEnded()
        exchangesServed += 1
        repliedAt = timers.eventLoop.now
        if isRequestWhole, replyKeepsAlive, reader.bufferedBytes == 0, isAttached {
            pool.release(self, at: repliedAt)
        } else {
            close()
        }
    }

    private func fail(_ failure: DeliveryFailure, wasStale: Bool = false) {
        let failed = exchange
        exchange = nil
        if failed != nil { pool.exchangeEnded() }
        failed?.appFailed(failure, wasStale: wasStale)
    }
}
