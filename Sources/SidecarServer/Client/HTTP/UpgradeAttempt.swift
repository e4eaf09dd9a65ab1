import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore
import TokenVerifier
import WebSocketProtocol

/// A handshake in progress: the client waits while the app decides.
final class UpgradeAttempt: HandshakeResponder {
    /// What the connection becomes when the app accepts.
    enum Kind {
        case webSocket(AcceptedUpgrade)
        case eventStream(origin: String?, lastEventID: String?)
        case poll(PostExchange)
        case stream(PostExchange)

        var transportKind: TransportKind {
            switch self {
            case .webSocket: .webSocket
            case .eventStream: .eventStream
            case .poll: .poll
            case .stream: .stream
            }
        }

        /// The POST of a client over HTTP; nil for others.
        fileprivate var exchange: PostExchange? {
            switch self {
            case .poll(let exchange), .stream(let exchange): exchange
            case .webSocket, .eventStream: nil
            }
        }

        var isPost: Bool { exchange != nil }
    }

    private let kind: Kind
    private let session: BridgeSession
    private let identity: HandshakeIdentity
    /// What the client says of the client protocol; nil for a raw client.
    private let offer: ProtocolOffer?
    /// What has to be the same when the client resumes its session; nil where that is off.
    private let terms: ResumeTerms?
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
        let settings = loop.configuration.settings
        if let exchange = kind.exchange {
            offer = ProtocolOffer(exchange.post.sender.resume)
            terms = exchange.terms
        } else if case .webSocket(let accepted) = kind, settings.clientProtocol {
            offer = ProtocolOffer(accepted.offeredProtocols)
            terms = offer.flatMap { offer in
                settings.resumeWindow == Settings.never
                    ? nil : ResumeTerms(handshake, offer.encoding, cookies: settings.resumeCookies ?? [])
            }
        } else {
            offer = nil
            terms = nil
        }
        session = BridgeSession(
            id: ConnectionID.make(),
            handshake: handshake,
            client: identified,
            slot: slot,
            transportKind: kind.transportKind,
            lastEventID: lastEventID,
            context: loop.sessions
        )
        if let key = kind.exchange?.key { loop.state.openings[key] = loop.sessions.place(of: session.id) }
    }

    func start() {
        switch identity {
        case .anonymous: resumeOrStart(nil)
        case .known(let token): resumeOrStart(token)
        case .awaitsMessage:
            session.startAwaitingToken()
            if offer?.resume != nil { session.expectResume(with: nil) }
            becomeWebSocketUnasked()
        }
    }

    /// Asks the app, unless the client goes on with a session that the app has accepted.
    ///
    /// - Parameter identity: The token of the client; nil for an anonymous one.
    private func resumeOrStart(_ identity: VerifiedToken?) {
        guard let terms, let resume = offer?.resume else { return startAnew(identity) }
        guard case .session(let token) = resume else { return startAnew(identity, awaitingPositions: true) }
        guard let place = loop.state.resumes[token.hash] else { return find(token, terms, identity) }
        ask(place, token, terms, identity)
    }

    /// How often a session is looked for that is on its way from one event loop to another, and the pause in between.
    private static let mostLooks = 20
    private static let pause = TimeAmount.milliseconds(20)

    /// Asks a session of this node.
    private func ask(
        _ place: ResumeDirectory.Place,
        _ token: ResumeToken,
        _ terms: ResumeTerms,
        _ identity: VerifiedToken?,
        looks: Int = mostLooks
    ) {
        let attempt = NIOLoopBound(self, eventLoop: loop.eventLoop)
        place.registry.eventLoop.execute {
            let isAccepted = place.registry.value[place.id]?.accepts(terms, user: identity?.user)
            attempt.eventLoop.execute {
                if isAccepted != nil || looks == 0 {
                    return attempt.value.judged(isAccepted ?? false, token, at: nil, identity)
                }
                attempt.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
                    attempt.value.lookAgain(token, terms, identity, looks: looks - 1)
                }
            }
        }
    }

    private func lookAgain(_ token: ResumeToken, _ terms: ResumeTerms, _ identity: VerifiedToken?, looks: Int) {
        guard let place = loop.state.resumes[token.hash] else { return find(token, terms, identity) }
        ask(place, token, terms, identity, looks: looks)
    }

    /// The session is not here, and may be on another node.
    private func find(_ token: ResumeToken, _ terms: ResumeTerms, _ identity: VerifiedToken?) {
        guard let moves = loop.state.moves else { return unknown(identity) }
        moves.find(token, terms, user: identity?.user, on: loop.eventLoop) { [self] found in
            switch found {
            case .on(let owner): judged(true, token, at: owner, identity)
            case .here:
                guard let place = loop.state.resumes[token.hash] else { return unknown(identity) }
                ask(place, token, terms, identity)
            case .nowhere: unknown(identity)
            }
        }
    }

    private func unknown(_ identity: VerifiedToken?) {
        loop.metrics.resumes[.unknown].increment()
        startAnew(identity, awaitingPositions: true)
    }

    /// The session has said whether this is its client.
    ///
    /// - Parameter owner: The node that has it; nil for this one.
    private func judged(_ isAccepted: Bool, _ token: ResumeToken, at owner: NodeID?, _ identity: VerifiedToken?) {
        guard let client, let offer, isAccepted else {
            loop.metrics.resumes[.refused].increment()
            return startAnew(identity, awaitingPositions: true)
        }
        let keepsToken = kind.exchange.map { $0.post.number > 1 } ?? false
        session.expectResume(with: token, at: owner, identity, keepsToken: keepsToken)
        session.speak(offer.encoding, terms)
        switch kind {
        case .webSocket(let accepted):
            client.becomeWebSocket(
                session,
                SwitchingProtocols(
                    acceptKey: accepted.acceptKey,
                    extensions: accepted.deflate?.fieldValue,
                    subprotocol: offer.encoding.subprotocol
                ),
                deflate: accepted.deflate,
                isAccepted: true
            )
            session.awaitResume()
        case .poll(let exchange):
            client.becomePoll(session, exchange, nil)
            session.resume(exchange.post.position)
        case .stream(let exchange):
            client.becomeStream(session, exchange, nil)
            session.resume(exchange.post.position)
        case .eventStream: break
        }
    }

    /// - Parameter awaitingPositions: Whether the client will say what it has got in an earlier session.
    private func startAnew(_ identity: VerifiedToken?, awaitingPositions: Bool = false) {
        guard client != nil else { return }
        if awaitingPositions { session.expectResume(with: nil) }
        if let identity, !session.adopt(identity) {
            session.leaveUnknown(as: .connectionLimit)
            let limit = loop.configuration.settings.maxConnectionsPerUser
            client?.refuse(.tooManyConnections(of: .user, limit: limit))
            return
        }
        session.start(responder: self)
    }

    /// The client authenticates on the open socket. The app is asked only then, and can no longer choose a subprotocol.
    private func becomeWebSocketUnasked() {
        guard case .webSocket(let accepted) = kind else { return }
        if let offer { session.speak(offer.encoding, terms) }
        client?.becomeWebSocket(
            session,
            SwitchingProtocols(
                acceptKey: accepted.acceptKey,
                extensions: accepted.deflate?.fieldValue,
                subprotocol: offer?.encoding.subprotocol
            ),
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
        case .poll(let exchange):
            session.speak(.json, terms)
            client.becomePoll(session, exchange, reply)
            resume(with: exchange)
        case .stream(let exchange):
            session.speak(.json, terms)
            client.becomeStream(session, exchange, reply)
            resume(with: exchange)
        case .webSocket(let accepted):
            do throws(Refusal) {
                let head = try SwitchingProtocols(
                    acceptKey: accepted.acceptKey,
                    extensions: accepted.deflate?.fieldValue,
                    reply: reply,
                    offered: accepted.offeredProtocols.filter { !ProtocolOffer.isReserved($0) },
                    subprotocol: offer?.encoding.subprotocol
                )
                if let offer, head.subprotocol != nil { session.speak(offer.encoding, terms) }
                client.becomeWebSocket(session, head, deflate: accepted.deflate, isAccepted: true)
            } catch {
                refuse(error, client)
            }
        }
    }

    /// The positions of the client came with its POST; they are looked at when the session has begun.
    private func resume(with exchange: PostExchange) {
        guard session.resumeAttempt != nil else { return }
        loop.eventLoop.assumeIsolated().execute { [session] in session.resume(exchange.post.position) }
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

extension ProtocolPost.Sender {
    /// What a client offers in the handshake of a WebSocket for the same purpose.
    fileprivate var resume: ProtocolOffer.Resume? {
        switch self {
        case .new: nil
        case .positions: .positions
        case .session(let token): .session(token)
        }
    }
}
