import SidecarCore

/// A connection of a lost node.
struct LostConnection {
    let id: String
    let connection: WebhookConnection
    let identity: ConnectionIdentity

    /// Reads what the lost node has registered.
    init(_ registered: RegisteredConnection) throws(JournalFault) {
        id = registered.id
        connection = try WebhookConnection(record: registered.connection, id: registered.id)
        identity = try ConnectionIdentity(record: registered.identity)
    }
}
