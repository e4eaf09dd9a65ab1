import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The client protocol over HTTP (`HTTP_PATHS`).
extension EdgeHTTPHandler {
    /// A browser asks whether a page may send POSTs.
    func answerPreflight(_ head: HTTPRequestHead, _ resolved: ResolvedClient) {
        guard admitPost(head, resolved) else { return }
        _ = try? reader.next()  // the end of the request, which has no body
        let fields = CrossOriginGrant.preflightFields
        write(.ours(status: 204, "No Content", fields, byteCount: nil), ByteBuffer())
    }

    /// The head of a POST has come.
    func receivePost(_ head: HTTPRequestHead, _ resolved: ResolvedClient, asksForStream: Bool) {
        guard admitPost(head, resolved) else { return }
        hold(head, for: .protocolPost(resolved, asksForStream: asksForStream))
    }

    /// Checks where a request comes from, before anything of it is used; a page may read what it gets from now on.
    private func admitPost(_ head: HTTPRequestHead, _ resolved: ResolvedClient) -> Bool {
        response.crossOriginGrant = .refused
        do throws(HandshakeRejection) {
            response.crossOriginGrant = try loop.admission.admitPost(head, resolved)
            return true
        } catch {
            refuse(error, of: head, from: resolved)
            return false
        }
    }

    /// Those that are refused count against the rate of handshakes, like refused handshakes.
    private func refuse(_ rejection: HandshakeRejection, of head: HTTPRequestHead, from resolved: ResolvedClient) {
        do throws(HandshakeRejection) {
            try loop.admission.count(resolved)
            refuse(rejection.refusal, rejection.result, head)
        } catch {
            refuse(error.refusal, handshake: error.result)
        }
    }

    /// The body of a POST is there.
    func take(_ held: HeldBody, from resolved: ResolvedClient, asksForStream: Bool) {
        let post: ProtocolPost
        do throws(ProtocolPost.Fault) {
            post = try ProtocolPost(body: held.body)
        } catch {
            return refuse(Refusal(status: 400, sentence: "The body \(error.what).", reason: .badPost))
        }
        // A stream cannot say whether it has taken them.
        guard !asksForStream || post.frames.isEmpty else {
            return refuse(
                Refusal(
                    status: 400,
                    sentence: "A POST that asks for a stream has no send; send frames beside the stream.",
                    reason: .badPost
                )
            )
        }
        let exchange = PostExchange(
            post,
            held.body,
            held.head,
            from: resolved,
            asksForStream: asksForStream,
            handler: self,
            loop: loop
        )
        phase = .posting(exchange)
        waitForAnswer()
        exchange.start()
    }

    /// Who has not got an answer long after the time of a poll gets none any more.
    private func waitForAnswer() {
        armTimer(after: loop.configuration.settings.pollTimeout + loop.configuration.settings.handshakeTimeout * 6)
    }

    /// It begins a connection, of a new session or of one that waits for its client.
    func open(_ exchange: PostExchange) {
        guard case .posting = phase, hasRoom(for: exchange.client) else { return }
        // Those that poll have no connections of their own that would be counted.
        if !exchange.asksForStream, loop.state.sessions(on: .poll) >= loop.configuration.maxConnections {
            return refuseAsFull()
        }
        admit(exchange.asksForStream ? .stream(exchange) : .poll(exchange), exchange.head, exchange.client)
    }

    func becomePoll(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?) {
        guard case .upgrading = phase else { return }
        loop.metrics.count(.accepted)
        waitForAnswer()
        phase = .posting(exchange)
        let opening = PollTransport.Opening(token: exchange.shownToken, key: exchange.key, acceptance: acceptance)
        let transport = PollTransport(session, opening, loop)
        exchange.transport = transport
        session.attach(transport)
        transport.posts.take(exchange.post, exchange.pending)
        exchange.forgetBody()
    }

    func becomeStream(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?) {
        guard let context, case .upgrading = phase else { return }
        phase = .gone
        loop.metrics.count(.accepted)
        let handler = ProtocolStreamHandler(
            session: session,
            after: exchange.post.number,
            isEncrypted: isEncrypted,
            loop: loop
        )
        let mustRead = readWithheld
        guard giveWay(to: handler, of: session, context) else { return }
        var answer = ByteBuffer()
        response.write(.eventStream(acceptance, origin: nil), isLast: true, into: &answer)
        handler.start(head: answer, mustRead: mustRead)
    }

    /// Answers a POST, and goes on with the next request.
    func answer(_ head: ClientResponseHead, _ body: ByteBuffer?) {
        guard case .posting = phase else { return }
        phase = .readingHead
        write(head, body ?? ByteBuffer())
    }

    /// Writes a complete response, the last one if the connection is to end.
    private func write(_ head: ClientResponseHead, _ body: ByteBuffer) {
        loop.scratch.clear()
        // What is sent to a client that asks and does not read must not grow.
        let isLast = isClosingSoon || loop.state.isDraining || !isWritable
        response.write(head, isLast: isLast, into: &loop.scratch)
        write(loop.scratch, response.framing == .none ? nil : body)
        guard response.keepsAlive else {
            phase = .lingering
            flush()
            return beginLinger()
        }
        response = HTTPResponseWriter()
        flush()
        guard case .readingHead = phase else { return }  // the write has failed: the client has gone
        armTimer(after: ServerConfiguration.clientKeepAlive)
        pump()
    }
}

extension PostExchange {
    /// What it shows to go on with a session.
    var shownToken: ResumeToken.Hash? {
        if case .session(let token) = post.sender { token.hash } else { nil }
    }
}
