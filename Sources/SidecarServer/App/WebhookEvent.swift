import HTTP1
import NIOCore
import SidecarCore

/// An event for the app, with everything that its request is made of.
struct WebhookEvent {
    /// What the event is about.
    enum Source {
        case connection(ConnectionEvent)
        case channel(OccupancyEvent, id: String)
    }

    let source: Source
    /// When it happened, in milliseconds since 1970; the same in every attempt.
    let happenedAt: Int64

    /// The lane on which its calls wait for a permit.
    var lane: PermitLane {
        switch source {
        case .connection(let event): event.delivery.event.kind.lane
        case .channel: .closes
        }
    }

    /// The number of messages in the event, or 1.
    var count: Int {
        switch source {
        case .connection(let event): event.delivery.sequences.count
        case .channel: 1
        }
    }

    /// The value of `ce-id`.
    var id: String {
        switch source {
        case .connection(let event): "\(event.connectionID)-\(event.delivery.sequence)"
        case .channel(_, let id): id
        }
    }

    /// The last part of `ce-type`, for the log.
    var name: String {
        switch source {
        case .connection(let event): event.delivery.event.kind.rawValue
        case .channel(let event, _): event.isOccupied ? "occupied" : "vacated"
        }
    }

    /// Writes the request, head and body.
    ///
    /// - Parameter signedAt: The time of this attempt, in seconds since 1970.
    func writeRequest(with dialect: any WebhookDialect, signedAt: Int64, into buffer: inout ByteBuffer) {
        switch source {
        case .connection(let event):
            event.writeRequest(with: dialect, happenedAt: happenedAt, signedAt: signedAt, into: &buffer)
        case .channel(let event, let id):
            dialect.encode(event, id: id, unixMilliseconds: happenedAt, signedAt: signedAt, into: &buffer)
        }
    }
}

/// An event of a connection, with what the app is told of the connection.
struct ConnectionEvent {
    let delivery: Delivery
    /// The request that the app decides on; only with `open`.
    let handshake: HTTPRequestHead?
    let connection: PreparedConnection
    /// Who the client is; nil for an anonymous client.
    let identity: PreparedIdentity?
    let connectionID: String

    fileprivate func writeRequest(
        with dialect: any WebhookDialect,
        happenedAt: Int64,
        signedAt: Int64,
        into buffer: inout ByteBuffer
    ) {
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
                delivery,
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
