import HTTP1
import NIOCore
import SidecarCore

/// The delivery of an event of a connection.
final class ConnectionEventDelivery: WebhookDelivery {
    let event: Delivery
    /// The request that the app decides on; only with `open`.
    private let handshake: HTTPRequestHead?
    private let connection: PreparedConnection
    /// Who the client is; nil for an anonymous client.
    private let identity: PreparedIdentity?
    private let connectionID: String
    /// When it happened, in milliseconds since 1970; the same in every attempt.
    private let happenedAt: Int64

    init(
        _ event: Delivery,
        at happenedAt: Int64,
        handshake: HTTPRequestHead?,
        of connection: PreparedConnection,
        id: String,
        identity: PreparedIdentity?,
        metrics: ServerMetrics.Webhook,
        owner: any WebhookDeliveryOwner,
        sender: WebhookSender
    ) {
        let kind = event.event.kind
        self.event = event
        self.happenedAt = happenedAt
        self.handshake = handshake
        self.connection = connection
        self.identity = identity
        connectionID = id
        super.init(
            lane: kind.lane,
            count: event.sequences.count,
            persistence: kind == .open ? .eachAddressOnce : .retries(waits: false),
            metrics: metrics,
            owner: owner,
            sender: sender
        )
    }

    override var eventID: String { "\(connectionID)-\(event.sequence)" }
    override var eventName: String { event.event.kind.rawValue }

    override func writeRequest(with dialect: any WebhookDialect, signedAt: Int64, into buffer: inout ByteBuffer) {
        if let handshake {
            dialect.encodeOpen(
                handshake,
                of: connection,
                id: connectionID,
                identity: identity,
                unixMilliseconds: happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        } else {
            dialect.encode(
                event,
                of: connection,
                id: connectionID,
                identity: identity,
                unixMilliseconds: happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        }
    }
}
