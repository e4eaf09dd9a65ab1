public import HTTP1
public import NIOCore

/// How the app is told of events, and how it replies: only a dialect knows the format of a request and its reply.
///
/// Sessions know events, facts and replies (``Delivery``, ``WebhookConnection``, ``SessionReply``); a dialect converts
/// them to and from HTTP/1.1. It is a class, so that calling it for an event costs no copy.
public protocol WebhookDialect: AnyObject, Sendable {
    /// True when requests carry a signature that covers the time of the attempt.
    var isSigned: Bool { get }

    /// The facts of a handshake that requests are made of.
    ///
    /// - Parameter transportKind: What the client asks for.
    func connection(
        for handshake: HTTPRequestHead,
        id: String,
        client: ClientIdentity,
        transportKind: TransportKind
    ) -> WebhookConnection

    /// Writes the parts that all requests of a connection have in common.
    func prepare(_ connection: WebhookConnection) -> PreparedConnection

    /// Writes the parts that say who the client is; nil for an anonymous client.
    func prepare(_ identity: ConnectionIdentity) -> PreparedIdentity?

    /// Writes the request of the `open` event, whole.
    ///
    /// - Parameters:
    ///   - identity: Who the client is, if known before the app is asked.
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

    /// Writes the request of an event after `open`, or of a batch of messages, whole; the other parameters are those of
    /// `open`.
    ///
    /// - Parameter sequence: The number of the event; for a batch, that of its first message.
    func encode(
        _ event: SessionEvent,
        sequence: UInt64,
        of connection: PreparedConnection,
        identity: PreparedIdentity?,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    )

    /// Writes the request of an event of a channel, whole.
    ///
    /// - Parameter id: The event's id, unique to it.
    func encode(
        _ event: OccupancyEvent,
        id: String,
        unixMilliseconds: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    )

    /// Reads the app's reply to a request with so many events.
    ///
    /// - Throws: ``DeliveryFailure`` for a status other than 2xx and for a reply that breaks the contract.
    func decode(_ head: HTTPReplyHead, _ body: ByteBuffer, events count: Int) throws(DeliveryFailure) -> SessionReply

    /// What the app says to the client in a reply with which it refuses a message; nil for nothing.
    func content(_ head: HTTPReplyHead, _ body: ByteBuffer) -> ProtocolError.Content?
}
