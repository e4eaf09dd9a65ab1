import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The delivery of an event of a connection.
final class ConnectionEventDelivery: WebhookDelivery {
    let event: Delivery
    let kind: SessionEvent.Kind
    /// The sequences of all that it brings.
    let sequences: ClosedRange<UInt64>
    /// The request that the app decides on; only with `open`.
    private let handshake: HTTPRequestHead?
    private let connection: PreparedConnection
    /// Who the client is; nil for an anonymous client.
    private var identity: PreparedIdentity?
    /// When it happened, in milliseconds since 1970; the same in every attempt.
    private let happenedAt: Int64

    init(
        _ event: Delivery,
        at happenedAt: Int64,
        handshake: HTTPRequestHead?,
        of connection: PreparedConnection,
        metrics: WebhookMetrics,
        owner: any WebhookDeliveryOwner,
        logFields: @autoclosure () -> Logger.Metadata,
        webhooks: WebhookContext
    ) {
        kind = event.event.kind
        sequences = event.sequences
        self.event = event
        self.happenedAt = happenedAt
        self.handshake = handshake
        self.connection = connection
        super.init(
            lane: kind.lane,
            count: sequences.count,
            persistence: kind == .open ? .eachAddressOnce : .retries(waits: false),
            metrics: metrics,
            owner: owner,
            logFields: logFields(),
            webhooks: webhooks
        )
    }

    /// Starts it; every attempt says the same of the client.
    func start(as identity: PreparedIdentity?, at now: NIODeadline) {
        self.identity = identity
        start(at: now)
    }

    override var eventID: String { connection.eventID(sequences.lowerBound) }
    override var eventName: String { kind.rawValue }

    override func writeRequest(with dialect: any WebhookDialect, signedAt: Int64, into buffer: inout ByteBuffer) {
        if let handshake {
            dialect.encodeOpen(
                handshake,
                of: connection,
                identity: identity,
                unixMilliseconds: happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        } else {
            dialect.encode(
                event.event,
                sequence: event.sequence,
                of: connection,
                identity: identity,
                unixMilliseconds: happenedAt,
                signedAt: signedAt,
                into: &buffer
            )
        }
    }
}
