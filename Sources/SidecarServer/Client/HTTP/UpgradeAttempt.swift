import HTTP1
import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// A handshake in progress: the client waits while the app decides.
final class UpgradeAttempt: HandshakeResponder {
    /// What the connection becomes when the app accepts.
    enum Kind {
        case webSocket(AcceptedUpgrade)
        case eventStream(origin: String?, lastEventID: String?)

        var transportKind: TransportKind {
            switch self {
            case .webSocket: .webSocket
            case .eventStream: .eventStream
            }
        }
    }

    private let kind: Kind
    private let session: BridgeSession
    private let identity: HandshakeIdentity
    private weak var client: (any ClientExchange)?
    private let loop: ClientContext

    init(
        kind: Kind,
        handshake: HTTPRequestHead,
        from identified: ClientIdentity,
        slot: ConnectionSlots.Slot,
        identity: HandshakeIdentity,
        client: any ClientExchange,
        loop: ClientContext
    ) {
        self.identity = identity
        self.kind = kind
        var lastEventID: String?
        if case .eventStream(_, let id) = kind { lastEventID = id }
        self.client = client
        self.loop = loop
        session = BridgeSession(
            id: ConnectionID.make(),
            handshake: handshake,
            client: identified,
            slot: slot,
            transportKind: kind.transportKind,
            lastEventID: lastEventID,
            context: loop.sessions
        )
    }

    func start() {
        switch identity {
        case .anonymous:
            session.start(responder: self)
        case .known(let token):
            if session.adopt(token) {
                session.start(responder: self)
            } else {
                session.leaveUnknown(as: .connectionLimit)
                let limit = loop.configuration.settings.maxConnectionsPerUser
                client?.refuse(.tooManyConnections(of: .user, limit: limit))
            }
        case .awaitsMessage:
            session.startAwaitingToken()
            becomeWebSocketUnasked()
        }
    }

    /// The client authenticates on the open socket. The app is asked only then, and can no longer choose a subprotocol.
    private func becomeWebSocketUnasked() {
        guard case .webSocket(let accepted) = kind else { return }
        client?.becomeWebSocket(
            session,
            SwitchingProtocols(acceptKey: accepted.acceptKey, extensions: accepted.deflate?.fieldValue),
            deflate: accepted.deflate,
            isAccepted: false
        )
    }

    /// - Parameter residual: What the client sent after its handshake.
    func clientGone(leaving residual: ByteBuffer) {
        client = nil
        countDropped(in: residual)
        loop.metrics.count(.clientGone)
        session.transportEnded(code: .abnormal, reason: "", initiator: .network)
    }

    /// Messages that came with the handshake are dropped.
    private func countDropped(in residual: ByteBuffer) {
        guard residual.readableBytes > 0, case .webSocket(let accepted) = kind else { return }
        let count = loop.messageReader(accepted.deflate).messagesCompleted(by: residual)
        loop.metrics.messagesDropped(count, reason: .clientGone)
    }

    /// The client has waited as long as it may for the app to be called.
    func admissionTimedOut() {
        session.admissionTimedOut()
    }

    func handshakeDecided(_ decision: HandshakeDecision) {
        guard let client else { return }
        switch decision {
        case .accept(let head): accept(head, client)
        case .relay(let head, var body):
            loop.metrics.count(.appRefused)
            let relayed = body.readSlice(length: min(body.readableBytes, ServerConfiguration.maxRelayedBody))
            client.relay(head, body: relayed ?? ByteBuffer())
        case .fail(let failure):
            client.refuse(Refusal(failure), handshake: .appFailed)
        case .refuse(let refusal, let result):
            client.refuse(refusal, handshake: result)
        }
    }

    private func accept(_ reply: HTTPReplyHead, _ client: any ClientExchange) {
        switch kind {
        case .eventStream(let origin, _):
            client.becomeEventStream(session, .eventStream(reply, origin: origin))
        case .webSocket(let accepted):
            do throws(Refusal) {
                let head = try SwitchingProtocols(
                    acceptKey: accepted.acceptKey,
                    extensions: accepted.deflate?.fieldValue,
                    reply: reply,
                    offered: accepted.offeredProtocols.filter { !$0.hasPrefix(TokenSource.bearerPrefix) }
                )
                client.becomeWebSocket(session, head, deflate: accepted.deflate, isAccepted: true)
            } catch {
                refuse(error, client)
            }
        }
    }

    /// The app has accepted in a way that the client would not understand.
    private func refuse(_ refusal: Refusal, _ client: any ClientExchange) {
        loop.log.warn(
            "handshake refused",
            [
                "client": "\(session.clientAddress)", "path": "\(session.path)",
                "status": .stringConvertible(refusal.status), "why": "\(refusal.sentence)",
            ]
        )
        client.refuse(refusal, handshake: .appFailed)
        session.transportEnded(code: .abnormal, reason: "", initiator: .server)
    }
}
