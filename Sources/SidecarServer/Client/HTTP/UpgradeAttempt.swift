import HTTP1
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// A handshake on its way: the client waits while the app decides.
final class UpgradeAttempt: SessionTransport {
    /// What becomes of the connection when the app accepts.
    enum Kind {
        case webSocket(AcceptedUpgrade)
        case eventStream(origin: String?, lastEventID: String?)
    }

    private let kind: Kind
    private let session: BridgeSession
    private let identity: HandshakeIdentity
    private weak var handler: EdgeHTTPHandler?
    private let shard: LoopShard

    init(
        kind: Kind,
        handshake: HTTPRequestHead,
        client: ClientIdentity,
        slot: AdmissionGuard.Slot,
        identity: HandshakeIdentity,
        handler: EdgeHTTPHandler
    ) {
        self.identity = identity
        self.kind = kind
        var isStream = false
        var lastEventID: String?
        if case .eventStream(_, let id) = kind {
            isStream = true
            lastEventID = id
        }
        self.handler = handler
        self.shard = handler.shard
        session = BridgeSession(
            id: ConnectionID.make(),
            handshake: handshake,
            client: client,
            slot: slot,
            isStream: isStream,
            lastEventID: lastEventID,
            shard: handler.shard
        )
    }

    func start() {
        switch identity {
        case .anonymous:
            session.start(transport: self)
        case .known(let token):
            if session.adopt(token) {
                session.start(transport: self)
            } else {
                session.leaveUnknown(as: .connectionLimit)
                let limit = shard.configuration.settings.maxConnectionsPerUser
                handler?.refuse(.tooManyConnections(of: "user", limit: limit))
            }
        case .awaitsMessage:
            session.startAwaitingToken()
            becomeWebSocketUnasked()
        }
    }

    /// The client says who it is on the open socket; the app, which is asked then, cannot choose a subprotocol any
    /// more.
    private func becomeWebSocketUnasked() {
        guard case .webSocket(let accepted) = kind else { return }
        var answer = ByteBuffer()
        SwitchingProtocols.writePlain(
            acceptKey: accepted.acceptKey,
            extensions: accepted.deflate?.fieldValue,
            into: &answer
        )
        handler?.becomeWebSocket(session, answer: answer, deflate: accepted.deflate, isAccepted: false)
    }

    /// - Parameter residual: What it sent behind its handshake.
    func clientGone(leaving residual: ByteBuffer) {
        handler = nil
        countDropped(in: residual)
        shard.metrics.count(.clientGone)
        session.transportEnded(code: 1006, reason: "", initiator: .network)
    }

    /// Messages that came with the handshake are of no use to anybody any more.
    private func countDropped(in residual: ByteBuffer) {
        guard residual.readableBytes > 0, case .webSocket(let accepted) = kind else { return }
        let count = shard.messageReader(accepted.deflate).messagesCompleted(by: residual)
        shard.metrics.messagesDropped(count, reason: "client_gone")
    }

    /// The client has waited as long as it may before the app is asked.
    func admissionTimedOut() {
        session.admissionTimedOut()
    }

    func handshakeDecided(_ decision: HandshakeDecision) {
        guard let handler else { return }
        switch decision {
        case .accept(let head): accept(head, handler)
        case .relay(let head, let body):
            shard.metrics.count(.appRefused)
            var answer = ByteBuffer()
            var body = body
            let relayed = body.readSlice(length: min(body.readableBytes, ServerConfiguration.maxRelayedBody))
            PassThroughHeads.writeRelayed(head, body: relayed ?? ByteBuffer(), into: &answer)
            handler.finish(with: answer)
        case .fail(let failure):
            handler.refuse(Refusal(failure), handshake: .appFailed)
        case .refuse(let refusal, let result):
            handler.refuse(refusal, handshake: result)
        }
    }

    private func accept(_ head: HTTPReplyHead, _ handler: EdgeHTTPHandler) {
        var answer = ByteBuffer()
        let accepted: AcceptedUpgrade
        switch kind {
        case .eventStream(let origin, _):
            EventStreamHead.write(head, origin: origin, into: &answer)
            return handler.becomeEventStream(session, answer: answer)
        case .webSocket(let upgrade): accepted = upgrade
        }
        let refusal = SwitchingProtocols.write(
            acceptKey: accepted.acceptKey,
            reply: head,
            offered: accepted.offeredProtocols.filter { !$0.hasPrefix(TokenSource.bearerPrefix) },
            extensions: accepted.deflate?.fieldValue,
            into: &answer
        )
        if let refusal {
            shard.warn(
                "handshake refused",
                [
                    "client": "\(session.clientAddress)", "path": "\(session.path)",
                    "status": .stringConvertible(refusal.status), "why": "\(refusal.sentence)",
                ]
            )
            handler.refuse(refusal, handshake: .appFailed)
            session.transportEnded(code: 1006, reason: "", initiator: .server)
        } else {
            handler.becomeWebSocket(session, answer: answer, deflate: accepted.deflate)
        }
    }

    // Nothing of these happens before the app has decided.
    func send(_ format: MessageFormat, _ payload: ByteBuffer) {}
    func send(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool { false }
    func whenWritten(_ receipt: WriteReceipt) {}
    var hasInputWaiting: Bool { false }
    func resume(_ missed: (_ room: Int) -> Replay) {}
    func close(code: UInt16, reason: String) {}
    func resumeReading() {}
    func settingsChanged(isOfTransport: Bool) {}
}

extension Refusal {
    /// What a client is told that comes while the process shuts down.
    static var draining: Refusal {
        Refusal(
            status: 503,
            sentence: "The server is restarting.",
            reason: "draining",
            retryAfter: ServerConfiguration.retryAfter()
        )
    }

    /// What the client is told when the app has no usable answer.
    init(_ failure: DeliveryFailure) {
        switch failure {
        case .timeout:
            self.init(status: 504, sentence: "The application did not answer in time.", reason: "app_timeout")
        case .connect:
            self.init(
                status: 502,
                sentence: "The application cannot be reached.",
                reason: "app_unreachable",
                retryAfter: 1
            )
        case .connectionLost, .status, .badReply:
            self.init(status: 502, sentence: "The application's response is invalid.", reason: "app_bad_reply")
        }
    }
}
