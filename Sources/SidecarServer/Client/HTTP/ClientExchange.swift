import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

/// What answers one request of a client, whatever version of HTTP the client speaks.
///
/// How the message is framed, whether its connection goes on and what an old client does not understand is decided and
/// written behind it. Of the three ways to answer one is taken, once: a response that is streamed, one that is whole, or
/// a session. An exchange that has been told that its client is gone is not called any more.
protocol ClientExchange: AnyObject {
    // MARK: The request

    /// Hands over what has come of the request's body, now that the app takes more.
    func pullBody()
    /// Looks whether the next step is the client's, which then may not take for ever.
    func noteProgress()

    // MARK: A response that is streamed

    /// Sends a 1xx before the response, to a client that expects such a thing.
    func interim(_ head: ClientResponseHead)
    /// Begins the response.
    func respond(_ head: ClientResponseHead)
    /// Sends some bytes of its body; of one that the head rules out, nothing is sent.
    func send(_ bytes: ByteBuffer)
    /// Ends it.
    func end(trailers: HTTPHeaders?)
    /// Lets out what was written.
    func flush()
    /// Gives up amid a response, so that the client sees that it isn't whole.
    func abort()
    /// False while the client takes less than it gets.
    var isWritable: Bool { get }

    // MARK: One that is whole

    /// Answers in place of the app.
    ///
    /// - Parameter handshake: The result to count, when the request was a handshake.
    func refuse(_ refusal: Refusal, handshake: HandshakeResult?)
    /// Answers with the app's own refusal of a session.
    func relay(_ reply: HTTPReplyHead, body: ByteBuffer)

    // MARK: A session

    /// The app has accepted: the head goes out and events begin.
    func becomeEventStream(_ session: BridgeSession, _ head: ClientResponseHead)
    /// The app has accepted: the head goes out and frames begin.
    ///
    /// - Parameter isAccepted: False when that is yet to be decided, by what the client says in its first message.
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
