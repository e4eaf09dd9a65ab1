internal import HTTPTypes
internal import NIOCore
internal import NIOHTTPTypes

/// Somebody is about to read the body of the request that is being answered.
struct BodyWanted: Sendable {}

/// Decides when a client that asked for it (`Expect: 100-continue`) is told to send its body.
///
/// Only once somebody wants the body: a request that is refused for its head alone is answered without it (RFC 9110
/// §10.1.1). Only when all earlier answers are out. And not any more when the body has come by itself.
struct ExpectedContinue {
    /// Requests that have no whole answer yet; the last one may lack its body, all others are whole.
    private var unanswered = 0
    private var isAwaited = false
    private var isWanted = false

    /// The head of a request has come.
    mutating func requestBegan(expectsContinue: Bool) {
        unanswered += 1
        isAwaited = expectsContinue
        isWanted = false
    }

    /// The body has begun, or there is none.
    mutating func bodyCame() { isAwaited = false }

    /// The body is wanted; true when the client is to be told.
    mutating func bodyWanted() -> Bool {
        isWanted = true
        return takeTurn()
    }

    /// An answer is whole; true when the client is to be told.
    mutating func answered() -> Bool {
        unanswered = max(unanswered - 1, 0)
        // Nobody has to be told any more when the answer was that of the request itself.
        if unanswered == 0 { isAwaited = false }
        return takeTurn()
    }

    private mutating func takeTurn() -> Bool {
        guard isAwaited, isWanted, unanswered == 1 else { return false }
        isAwaited = false
        return true
    }
}

/// Answers `Expect: 100-continue`.
final class ContinueHandler: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private var expected = ExpectedContinue()

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.expected.requestBegan(expectsContinue: head.headerFields[.expect]?.lowercased() == "100-continue")
        case .body, .end:
            self.expected.bodyCame()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard case .end = self.unwrapOutboundIn(data) else {
            context.write(data, promise: promise)
            return
        }
        context.write(data, promise: promise)
        if self.expected.answered() { self.tell(context) }
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is BodyWanted else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        if self.expected.bodyWanted() { self.tell(context) }
        promise?.succeed()
    }

    private func tell(_ context: ChannelHandlerContext) {
        context.writeAndFlush(self.wrapOutboundOut(.head(HTTPResponse(status: .continue))), promise: nil)
    }
}
