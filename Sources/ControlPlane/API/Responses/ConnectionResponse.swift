internal import Hummingbird
internal import SidecarCore

/// `GET /v1/connections/ID`.
struct ConnectionResponse: ResponseEncodable {
    let id: String
    @Nullable var user: String?
    let ip: String
    let subject: String
    let openedAt: String
    let messagesIn: Int
    let messagesOut: Int
    let pendingBytes: Int
    let channels: [String]
    /// Of clients of the protocol; left out for others.
    let state: String?
    /// Left out without a cluster.
    let node: String?

    init(_ connection: ConnectionInfo) {
        id = connection.id
        user = connection.user?.text
        ip = connection.address
        subject = connection.subject
        openedAt = Timestamp.text(unixMilliseconds: connection.openedAt)
        messagesIn = connection.messagesIn
        messagesOut = connection.messagesOut
        pendingBytes = connection.pendingBytes
        channels = connection.channels.map(\.text)
        state = connection.isDetached.map { $0 ? "detached" : "attached" }
        node = connection.node
    }
}

/// `GET /v1/connections`.
struct ConnectionListResponse: ResponseEncodable {
    let connections: [ConnectionResponse]
    /// The id that `after` takes for the rest.
    @Nullable var next: String?
    /// Nodes that did not answer; left out when all have.
    let missing: [String]?

    init(_ page: ConnectionPage) {
        missing = page.missing.nonEmpty
        connections = page.connections.map(ConnectionResponse.init)
        next = page.next
    }
}

/// `DELETE /v1/users/USER/connections`.
struct ClosedResponse: ResponseEncodable {
    let closed: Int
}

extension Array {
    /// Nil when it is empty, so that a member of an answer is left out.
    var nonEmpty: Self? { isEmpty ? nil : self }
}
