import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

/// Responds to one request of a client, in any version of HTTP.
///
/// Framing, keep-alive and what old clients do not understand are decided by the implementation. Exactly one of three
/// kinds of response is used, once: a streamed response, a complete one, or a session. After an exchange has been told
/// that its client has gone, it is not called any more.
protocol ClientExchange: AnyObject {
    // MARK: The request

    /// Passes on what has arrived of the request's body, now that the app takes more.
    func pullBody()
    /// Checks whether the next step is the client's, which is then limited in time.
    func noteProgress()

    // MARK: A response that is streamed

    /// Sends a 1xx before the response, if the client's version allows it.
    func interim(_ head: ClientResponseHead)
    /// Begins the response.
    func respond(_ head: ClientResponseHead)
    /// Sends bytes of the body; nothing is sent for a head that has no body.
    func send(_ bytes: ByteBuffer)
    /// Ends the response.
    func end(trailers: HTTPHeaders?)
    /// Flushes what was written.
    func flush()
    /// Aborts in the middle of a response, so that the client sees that it is incomplete.
    func abort()
    /// False while the client reads more slowly than it is sent to.
    var isWritable: Bool { get }

    // MARK: A complete response

    /// Responds instead of the app.
    ///
    /// - Parameter handshake: The result to count, when the request was a handshake.
    func refuse(_ refusal: Refusal, handshake: HandshakeResult?)
    /// Relays the app's own refusal of a session.
    func relay(_ reply: HTTPReplyHead, body: ByteBuffer)

    // MARK: A session

    /// The app has accepted: sends the head and begins the events.
    func becomeEventStream(_ session: BridgeSession, _ head: ClientResponseHead)
    /// Waits with the answer to the first poll until there are frames.
    ///
    /// - Parameter acceptance: The app's reply; nil where it was not asked.
    func becomePoll(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?)
    /// Sends the head and begins the frames of a stream.
    ///
    /// - Parameter acceptance: The app's reply; nil where it was not asked.
    func becomeStream(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?)
    /// The app has accepted: sends the head and begins the frames.
    ///
    /// - Parameter isAccepted: False when that depends on the client's first message, a token.
    func becomeWebSocket(
        _ session: BridgeSession,
        _ head: SwitchingProtocols,
        deflate: NegotiatedDeflate?,
        isAccepted: Bool
    )
}

extension ClientExchange {
    func refuse(_ refusal: Refusal) { refuse(refusal, handshake: nil) }
}
