import CoreMetrics
import HTTP1
import NIOCore
import SidecarCore

/// A POST of the client protocol whose body has been read, until it is answered. Its session may be on another event loop
/// or on another node.
final class PostExchange {
    private(set) var post: ProtocolPost
    let head: HTTPRequestHead
    let client: ResolvedClient
    /// Whether it asks for one long answer.
    let asksForStream: Bool
    let key: OpeningKey?
    /// What has to be the same in all POSTs of a session.
    let terms: ResumeTerms

    private weak var handler: EdgeHTTPHandler?
    private let loop: ClientContext
    /// The whole body, until it is known whether it goes to another node.
    private var body: ByteBuffer?
    /// Where it waits; nil while that is not known.
    private var place: ResumeDirectory.Place?
    /// The transport that it has begun.
    weak var transport: PollTransport?
    private(set) var pending = PendingPost { _ in }
    /// Until when it is asked again for a session about which the app has not answered.
    private let deadline: NIODeadline
    private static let pause = TimeAmount.milliseconds(50)

    init(
        _ post: ProtocolPost,
        _ body: ByteBuffer,
        _ head: HTTPRequestHead,
        from client: ResolvedClient,
        asksForStream: Bool,
        handler: EdgeHTTPHandler,
        loop: ClientContext
    ) {
        self.post = post
        self.body = body
        self.head = head
        self.client = client
        self.asksForStream = asksForStream
        self.handler = handler
        self.loop = loop
        key = OpeningKey(post, head, address: client.identity.address)
        let settings = loop.configuration.settings
        terms = ResumeTerms(head, .json, cookies: settings.resumeCookies ?? [])
        deadline = .now() + settings.handshakeTimeout
        let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
        pending = PendingPost { answer in
            // In a turn of its own: the connection goes on with its next request, which may be for the same session.
            bound.eventLoop.execute { bound.value.answered(answer) }
        }
    }

    /// Brings it to its session.
    func start() {
        guard case .session(let token) = post.sender else {
            return post.number == 1 ? lookForOpening() : answered(.ended)
        }
        if asksForStream { return answered(.opens) }
        if let place = loop.state.resumes[token.hash] {
            let post = post
            // A first one may turn out to be a new one.
            if post.number > 1 { forgetBody() }
            return ask(place) { [key, terms, pending] session in
                guard let session else { return pending.reply(post.number == 1 ? .opens : .ended) }
                session.post(post, key, terms, pending)
            }
        }
        if post.number == 1 { return answered(.opens) }
        if let farewell = loop.state.farewells[token.hash] { return answered(farewell) }
        guard let owner = token.node, let relays = loop.state.relays, owner != loop.state.engine?.nodeID else {
            return answered(.ended)
        }
        loop.metrics.posts[.relayed].increment()
        guard let body else { return }
        forgetBody()
        relays.pass(body, terms, to: owner, for: loop.configuration.settings.pollTimeout, pending)
    }

    /// Others have what it brings.
    func forgetBody() {
        body = nil
        post.frames = []
    }

    /// A first POST without a token may be a repeat.
    private func lookForOpening() {
        guard let key, let place = loop.state.openings[key] else { return answered(.opens) }
        ask(place) { [post, terms, asksForStream, pending] session in
            guard let session else { return pending.reply(.opens) }
            session.postAgain(post, key, terms, isForStream: asksForStream, pending)
        }
    }

    private func ask(_ place: ResumeDirectory.Place, _ body: @escaping @Sendable (BridgeSession?) -> Void) {
        self.place = place
        let eventLoop = place.registry.eventLoop
        if eventLoop.inEventLoop { return body(place.registry.value[place.id]) }
        eventLoop.execute { body(place.registry.value[place.id]) }
    }

    func clientGone() {
        handler = nil
        if let transport { return transport.left(pending) }
        guard let place else { return }
        ask(place) { [pending] session in (session?.transport as? any PostTransport)?.left(pending) }
    }

    private func answered(_ answer: PostAnswer) {
        guard let handler, case .posting(let current) = handler.phase, current === self else { return }
        switch answer {
        case .opens: handler.open(self)
        case .notYet where NIODeadline.now() < deadline:
            loop.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { if self.handler != nil { self.start() } }
        case .notYet: handler.open(self)
        case .frames(let body, let acceptance):
            handler.answer(.frames(acceptance, byteCount: body.readableBytes), body)
        case .nothing: handler.answer(.frames(nil, byteCount: nil), nil)
        case .refused(let refusal): handler.refuse(refusal)
        case .ended: endUnknown(handler)
        }
    }

    /// The client has to resume a session that is not here; too many of those count like handshakes.
    private func endUnknown(_ handler: EdgeHTTPHandler) {
        loop.metrics.posts[.ended].increment()
        do throws(HandshakeRejection) {
            try loop.admission.count(client)
            guard case .frames(let body, _) = PostAnswer.resume else { return }
            handler.answer(.frames(nil, byteCount: body.readableBytes), body)
        } catch {
            handler.refuse(error.refusal)
        }
    }
}
