import HTTP1
import Logging
import NIOCore
import SidecarCore

/// Reading: each request is passed to where it is handled, as fast as it is taken there.
extension EdgeHTTPHandler {
    var wantsInput: Bool {
        switch phase {
        case .readingHead, .holding, .lingering, .gone: true
        case .upgrading, .posting: reader.bufferedBytes < Self.maxPipelinedBytes
        case .proxying(let exchange):
            if exchange.isRequestWhole {
                // Only reading shows that the client has gone.
                reader.bufferedBytes < Self.maxPipelinedBytes
            } else {
                exchange.takesBody
            }
        }
    }

    /// Takes parts out of the input, as long as they can be used.
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

    /// Takes one part; false when there is none or it cannot be used yet.
    private func takePart() throws(HTTPParseError) -> Bool {
        switch phase {
        case .upgrading, .posting, .lingering, .gone:
            return false
        case .readingHead:
            guard case .head(let head)? = try reader.next() else {
                noteHeadBegan()
                return false
            }
            received(head)
            return true
        case .holding(let held):
            return try take(held)
        case .proxying(let exchange):
            guard !exchange.isRequestWhole, exchange.takesBody, let part = try reader.next() else { return false }
            switch part {
            case .head: return false  // a head can only follow an end
            case .body(let bytes): exchange.sendBody(bytes)
            case .end(let trailers): exchange.sendEnd(trailers)
            }
            noteProgress()
            return true
        }
    }

    /// A later request's head gets as much time as the first one, from its first byte on.
    private func noteHeadBegan() {
        guard requestsServed > 0, !headBegan, reader.hasStartedRequest else { return }
        headBegan = true
        armTimer(after: loop.configuration.settings.handshakeTimeout)
    }

    private func received(_ head: HTTPRequestHead) {
        headBegan = false
        response = HTTPResponseWriter(to: head)
        requestsServed += 1
        loop.timers.cancel(timer)
        let resolved = loop.admission.clients.resolve(
            peer: peer.address,
            isUnixSocket: peer.isUnixSocket,
            isNamedByProxy: peer.isNamedByProxy,
            scheme: scheme,
            headers: head.headers
        )
        client = resolved.identity
        switch loop.configuration.router.route(head) {
        case .refuse(let refusal):
            refuse(refusal, of: resolved, isHandshake: head.headers.contains("upgrade"))
        case .upgrade:
            upgrade(head, resolved)
        case .eventStream:
            openStream(head, resolved)
        case .protocolPost(let asksForStream):
            receivePost(head, resolved, asksForStream: asksForStream)
        case .protocolPreflight:
            answerPreflight(head, resolved)
        case .clientScript:
            serveClientScript(to: head)
        case .passThrough(let target, let closeAfterwards, let inspects):
            if closeAfterwards { response.close() }
            if inspects {
                hold(head, for: .inspection(target: target))
            } else {
                passOn(ProxyExchange(head: head, target: target, from: client, client: self, loop: loop))
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
            try loop.admission.count(client)
            refuse(refusal)
        } catch {
            refuse(error.refusal, handshake: error.result)
        }
    }

    private func parseFailed(_ error: HTTPParseError) {
        switch phase {
        case .proxying(let exchange):
            // The body has broken its framing: where the next request would begin is unknown.
            exchange.clientGone()
            if exchange.isReplyBegun {
                endNow()
                return
            }
        default:
            break
        }
        loop.log.logger.debug(
            "request refused",
            metadata: ["client": "\(client.address)", "why": "\(error.sentence)"]
        )
        if let kind = RefusalKind(error) { noteRefused(kind) }
        refuse(Refusal(status: error.status, sentence: error.sentence, reason: .badRequest))
    }
}
