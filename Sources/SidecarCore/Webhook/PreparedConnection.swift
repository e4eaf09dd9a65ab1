/// The parts of requests that a dialect has written once for a connection, to send them with each event.
///
/// It lives as long as the socket. Of ``WebhookConnection`` it holds only what the dialect has to write in another form
/// than in `bytes`. It is a reference, so that each event can have it.
public final class PreparedConnection: Sendable {
    /// The connection's id, which the ids of its events begin with.
    public let id: String
    /// The path and query that the client asked for.
    public let subject: String
    /// The node that the client connected to, if it is not the dialect's own.
    let otherNode: Shared<String>?
    /// Parts of requests, one after the other.
    package let bytes: [UInt8]
    /// Where the parts end.
    let ends: Ends
    /// What carries it.
    let transportKind: TransportKind

    /// Offsets into the bytes, ascending. A head never comes near 4 GiB, so 32 bits are enough.
    struct Ends: Sendable, Equatable {
        var first: UInt32 = 0
        var second: UInt32 = 0
        var third: UInt32 = 0
    }

    /// - Parameter node: The dialect's.
    init(_ connection: WebhookConnection, on node: String, bytes: [UInt8], ends: Ends) {
        id = connection.id
        subject = connection.subject
        otherNode = connection.node == node ? nil : Shared(connection.node)
        transportKind = connection.transportKind
        self.bytes = bytes
        self.ends = ends
    }

    /// The id of one of its events (`ce-id`).
    ///
    /// - Parameter sequence: 0 for the end of a connection whose node was lost, which has no place in its order of events.
    public func eventID(_ sequence: UInt64) -> String { sequence == 0 ? "\(id)-lost" : "\(id)-\(sequence)" }
}

/// The parts of requests that say who the client is.
///
/// It is a reference: most connections have none, and copying it costs little.
public final class PreparedIdentity: Sendable {
    /// The identity that they were written from.
    public let identity: ConnectionIdentity
    /// Parts of requests.
    package let bytes: [UInt8]

    init(_ identity: ConnectionIdentity, bytes: [UInt8]) {
        self.identity = identity
        self.bytes = bytes
    }
}
