import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The response to the request in flight, in HTTP/1.x. Sessions are in EdgeHTTPHandler+Upgrade.
extension EdgeHTTPHandler: ClientExchange {
    func pullBody() { pump() }

    func interim(_ head: ClientResponseHead) {
        loop.scratch.clear()
        guard response.writeInterim(head, into: &loop.scratch) else { return }
        write(loop.scratch)
        flush()
    }

    func respond(_ head: ClientResponseHead) {
        // Of a request that is answered early the rest is not read, so that none can follow (RFC 9112 §9.3).
        let isLast = !isRequestWhole || isClosingSoon || loop.state.isDraining
        loop.scratch.clear()
        response.write(head, isLast: isLast, into: &loop.scratch)
        write(loop.scratch)
    }

    private var isRequestWhole: Bool {
        if case .proxying(let exchange) = phase { exchange.isRequestWhole } else { true }
    }

    func send(_ bytes: ByteBuffer) {
        let response = response
        response.frame(bytes, write)
    }

    func end(trailers: HTTPHeaders?) {
        let response = response
        response.frameEnd(trailers, write)
        guard case .proxying = phase else { return }
        guard response.keepsAlive, !isClosingSoon else {
            phase = .lingering
            flush()
            return beginLinger()
        }
        phase = .readingHead
        self.response = HTTPResponseWriter()
        flush()
        guard case .readingHead = phase else { return }  // the write has failed: the client has gone
        armTimer(after: ServerConfiguration.clientKeepAlive)
        pump()
    }

    /// Writes to the client, with what has to follow directly; does not flush.
    func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        context?.write(wrapOutboundOut(bytes), promise: nil)
        if let rest { context?.write(wrapOutboundOut(rest), promise: nil) }
    }

    func flush() {
        context?.flush()
        // Below the mark there is no notification when bytes have been sent.
        if !isWritable { accountUnsent(unsentBytes) }
    }

    var isWritable: Bool { context?.channel.isWritable ?? false }

    /// A part of the response has been sent, and only the end of the connection can show that it is incomplete.
    func abort() { endNow() }

    // MARK: Complete responses, the last ones of the connection

    func refuse(_ refusal: Refusal, handshake: HandshakeResult?) {
        loop.metrics.httpRefused(refusal.reason)
        if let kind = RefusalKind(refusal.reason) { noteRefused(kind, ["why": "\(refusal.sentence)"]) }
        if let handshake { loop.metrics.count(handshake) }
        loop.scratch.clear()
        response.write(refusal, into: &loop.scratch)
        finish(with: loop.scratch)
    }

    func relay(_ reply: HTTPReplyHead, body: ByteBuffer) {
        loop.scratch.clear()
        response.writeRelayed(reply, body: body, into: &loop.scratch)
        finish(with: loop.scratch)
    }

    private func finish(with answer: ByteBuffer) {
        guard let context else { return }
        phase = .lingering  // set before writing, which may show that the client has gone
        context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
        beginLinger()
    }

    /// Sends the client script, and goes on with the next request, unless the client does not wait for its responses:
    /// what is sent to one that asks and does not read must not grow.
    func serveClientScript(to head: HTTPRequestHead) {
        guard let (answer, body) = loop.configuration.clientScript?.response(to: head) else { return endNow() }
        _ = try? reader.next()  // the end of the request, which has no body
        let isAhead = reader.bufferedBytes > 0 || !isWritable
        loop.scratch.clear()
        response.write(answer, isLast: isAhead || isClosingSoon || loop.state.isDraining, into: &loop.scratch)
        if head.method == "GET", answer.body != .none { loop.scratch.writeImmutableBuffer(body) }
        guard response.keepsAlive else { return finish(with: loop.scratch) }
        write(loop.scratch)
        response = HTTPResponseWriter()
        flush()
        guard case .readingHead = phase else { return }  // the write has failed: the client has gone
        armTimer(after: ServerConfiguration.clientKeepAlive)
    }

    /// Records that the client was refused, for the operator.
    func noteRefused(_ kind: RefusalKind, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        loop.admission.sessions.refusals.note(kind, client: client.address, more())
    }

    // MARK: What the client does not take

    var unsentBytes: Int { (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }

    func accountUnsent(_ bytes: Int) {
        let old = accountedUnsent
        guard bytes != old else { return }
        accountedUnsent = bytes
        loop.sendBuffers.changed(self, from: old, to: bytes)
    }

    /// A half-sent response cannot be dropped, so the connection is closed.
    func shed(beyond share: Int) {
        loop.metrics.slowClient(action: .close)
        if case .proxying(let exchange) = phase { exchange.clientGone() }
        context?.closeAtOnce()
        accountUnsent(0)
    }
}
