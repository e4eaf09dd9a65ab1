/// What a dialect has written once for a connection, since it goes out with each event; only the dialect reads it.
///
/// It lives as long as the socket: it holds of ``WebhookConnection`` only what the dialect has to say otherwise than in
/// `bytes`. It is a reference, since each event has it.
public final class PreparedConnection: Sendable {
    /// The connection's id, which the ids of its events begin with.
    public let id: String
    /// The path and query that the client asked for.
    public let subject: String
    /// The name of the node that the client connected to, if that is another one than the dialect's.
    let otherNode: Shared<String>?
    /// Parts of requests, one after the other.
    package let bytes: [UInt8]
    /// Where the parts end.
    let ends: Ends
    /// Whether it is an event stream.
    let isStream: Bool

    /// Offsets into the bytes, ascending. A head never comes near 4 GiB, where they would be cut.
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
        isStream = connection.isStream
        self.bytes = bytes
        self.ends = ends
    }
}

/// The same for who the client is.
///
/// It is a reference: most connections have none, and the others hand it on for the price of one.
public final class PreparedIdentity: Sendable {
    /// Who that is.
    public let identity: ConnectionIdentity
    /// Parts of requests.
    package let bytes: [UInt8]

    init(_ identity: ConnectionIdentity, bytes: [UInt8]) {
        self.identity = identity
        self.bytes = bytes
    }
}
