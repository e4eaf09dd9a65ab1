public import HTTP1
public import NIOCore

/// How an app is told of events, and how it answers: the one place that knows what a request and its reply look like.
///
/// Sessions know events, facts and replies (``Delivery``, ``WebhookConnection``, ``SessionReply``); a dialect turns them
/// into HTTP/1.1 and back. It is a class, so that calling it for an event costs a call and no copy.
public protocol WebhookDialect: AnyObject, Sendable {
    /// True when requests carry the time of the attempt, in a signature.
    var isSigned: Bool { get }

    /// What requests about a connection are made of.
    ///
    /// - Parameter isStream: Whether the client asks for an event stream.
    func connection(
        for handshake: HTTPRequestHead,
        id: String,
        client: ClientIdentity,
        isStream: Bool
    ) -> WebhookConnection

    /// Writes what all requests about a connection have in common.
    func prepare(_ connection: WebhookConnection) -> PreparedConnection

    /// Writes who the client is; nil for nobody.
    func prepare(_ identity: ConnectionIdentity) -> PreparedIdentity?

    /// Writes the request of the `open` event, whole.
    ///
    /// - Parameters:
    ///   - identity: Who the client is, when that is known before the app is asked.
    ///   - unixMilliseconds: When it happened; the same on every attempt.
    ///   - signedAt: The time of this attempt, in seconds since 1970.
    func encodeOpen(
        _ handshake: HTTPRequestHead,
        of connection: PreparedConnection,
        identity: PreparedIdentity?,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    )

    /// Writes the request of an event after `open`, or of a batch of messages, whole; the parameters are those of `open`.
    func encode(
        _ delivery: Delivery,
        of connection: PreparedConnection,
        identity: PreparedIdentity?,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    )

    /// Writes the request of an event of a channel, whole.
    ///
    /// - Parameter id: The event's id; no other event has it.
    func encode(
        _ event: OccupancyEvent,
        id: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    )

    /// Reads the app's answer to a request with so many events.
    ///
    /// - Throws: ``DeliveryFailure`` for a status other than 2xx and for an answer that breaks the contract.
    func decode(_ head: HTTPReplyHead, _ body: ByteBuffer, events count: Int) throws(DeliveryFailure) -> SessionReply
}

extension WebhookDialect {
    /// Reads the app's answer to one event.
    public func decode(_ head: HTTPReplyHead, _ body: ByteBuffer) throws(DeliveryFailure) -> SessionReply {
        try decode(head, body, events: 1)
    }
}
