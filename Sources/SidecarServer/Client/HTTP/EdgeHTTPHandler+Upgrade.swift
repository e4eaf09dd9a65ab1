import HTTP1
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// Requests that become a session: a WebSocket or an event stream.
extension EdgeHTTPHandler {
    func upgrade(_ head: HTTPRequestHead, _ resolved: ResolvedClient) {
        guard hasRoom(for: resolved) else { return }
        let accepted: AcceptedUpgrade
        do throws(HandshakeRefusal) {
            accepted = try Handshake.validate(
                UpgradeRequest(head),
                deflate: loop.configuration.deflate
            )
        } catch {
            let refusal = Refusal(status: error.status, sentence: error.sentence, reason: .badHandshake)
            return refuse(refusal, .badRequest, head)
        }
        guard loop.configuration.router.servesWebSocket(target: head.target) else {
            noteRefused(.wsPaths, ["path": "\(head.target.prefix { $0 != "?" })"])
            let refusal = Refusal(status: 404, sentence: "There is no WebSocket at this path.", reason: .path)
            return refuse(refusal, .path, head)
        }
        admit(.webSocket(accepted), head, resolved)
    }

    /// An event stream is a session too, without messages from the client.
    func openStream(_ head: HTTPRequestHead, _ resolved: ResolvedClient) {
        guard hasRoom(for: resolved) else { return }
        admit(
            .eventStream(origin: head.headers.first("origin"), lastEventID: head.headers.first("last-event-id")),
            head,
            resolved
        )
    }

    /// Counts a handshake, and refuses it when there is no room for another connection.
    func hasRoom(for resolved: ResolvedClient) -> Bool {
        if loop.state.isDraining {
            refuse(.draining, handshake: .draining)
            return false
        }
        do throws(HandshakeRejection) {
            try loop.admission.count(resolved)
        } catch {
            refuse(error.refusal, handshake: error.result)
            return false
        }
        guard loop.state.pendingBytes.isSpent else { return true }
        loop.metrics.limited(.maxTotalPendingBytes, action: .refused)
        noteRefused(.totalPendingBytes, .action(.refused))
        refuse(
            Refusal(
                status: 503,
                sentence: "Too much is waiting for the application.",
                reason: .connectionLimit,
                retryAfter: ServerConfiguration.retryAfter()
            ),
            handshake: .connectionLimit
        )
        return false
    }

    func admit(_ kind: UpgradeAttempt.Kind, _ head: HTTPRequestHead, _ resolved: ResolvedClient) {
        do throws(HandshakeRejection) {
            if !kind.isPost { try loop.admission.checkOrigin(of: head, resolved) }
            let (slot, identity) = try loop.admission.admit(head, resolved, transportKind: kind.transportKind)
            let attempt = UpgradeAttempt(
                kind: kind,
                handshake: head,
                from: client,
                slot: slot,
                identity: identity,
                client: self,
                loop: loop
            )
            phase = .upgrading(attempt)
            armTimer(after: loop.configuration.settings.handshakeTimeout)
            attempt.start()
        } catch  where error.result == .auth || error.result == .origin {
            refuse(error.refusal, error.result, head)
        } catch {
            refuse(error.refusal, handshake: error.result)
        }
    }

    /// Refuses an invalid handshake, with a log line; the number of such lines is limited by the checks before.
    func refuse(_ refusal: Refusal, _ result: HandshakeResult, _ head: HTTPRequestHead) {
        var metadata: Logger.Metadata = [
            "client": "\(client.address)", "path": "\(head.target.prefix { $0 != "?" })",
            "status": .stringConvertible(refusal.status), "why": "\(refusal.sentence)",
        ]
        if let origin = head.headers.first("origin") { metadata["origin"] = "\(origin)" }
        loop.log.logger.info("handshake refused", metadata: metadata)
        refuse(refusal, handshake: result)
    }

    func becomeEventStream(_ session: BridgeSession, _ head: ClientResponseHead) {
        guard let context, case .upgrading = phase else { return }
        phase = .gone
        loop.metrics.count(.accepted)
        let handler = EventStreamHandler(session: session, isEncrypted: isEncrypted, loop: loop)
        let mustRead = readWithheld
        guard giveWay(to: handler, of: session, context) else { return }
        var answer = ByteBuffer()
        response.write(head, isLast: true, into: &answer)
        handler.start(head: answer, mustRead: mustRead)
    }

    func becomeWebSocket(
        _ session: BridgeSession,
        _ head: SwitchingProtocols,
        deflate: NegotiatedDeflate?,
        isAccepted: Bool
    ) {
        guard let context, case .upgrading = phase else { return }
        phase = .gone
        if isAccepted { loop.metrics.count(.accepted) }
        let handler = WebSocketHandler(
            session: session,
            deflate: deflate,
            isEncrypted: isEncrypted,
            loop: loop
        )
        let residual = reader.takeRemaining()
        let mustRead = readWithheld
        guard giveWay(to: handler, responder: isAccepted ? nil : handler, of: session, context) else { return }
        var answer = ByteBuffer()
        HTTPResponseWriter.write(head, into: &answer)
        // Last, since the write ends the connection if the client has gone.
        handler.start(answer: answer, residual: residual, mustRead: mustRead)
    }

    /// Replaces this handler with the session's; false when the connection has closed.
    func giveWay(
        to handler: some ChannelHandler & SessionTransport,
        responder: (any HandshakeResponder)? = nil,
        of session: BridgeSession,
        _ context: ChannelHandlerContext
    ) -> Bool {
        do {
            try context.pipeline.syncOperations.addHandler(handler, position: .after(self))
        } catch {
            context.close(promise: nil)
            session.transportEnded(code: .abnormal, reason: "", initiator: .network)
            return false
        }
        session.attach(handler, responder: responder)
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        return true
    }
}

extension UpgradeRequest {
    /// The handshake's fields in the form that the protocol check takes.
    fileprivate init(_ head: HTTPRequestHead) {
        self.init(
            method: head.method,
            httpMajor: 1,
            httpMinor: head.minorVersion,
            target: head.target,
            hosts: head.headers.values(of: "host"),
            upgrade: head.headers.values(of: "upgrade"),
            connection: head.headers.values(of: "connection"),
            key: head.headers.values(of: "sec-websocket-key"),
            version: head.headers.values(of: "sec-websocket-version"),
            protocols: head.headers.values(of: "sec-websocket-protocol"),
            extensions: head.headers.values(of: "sec-websocket-extensions"),
            hasBody: head.hasBody
        )
    }
}
