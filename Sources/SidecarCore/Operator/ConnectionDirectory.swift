/// Where a connection is.
public struct ConnectionPlace: Sendable, Equatable {
    /// Its name.
    public let id: String
    /// Who it is, when that is known.
    public let user: UserName?
    /// The client's address.
    public let address: String
    /// The event loop that owns it, by its number.
    public let loop: Int

    /// Makes one.
    public init(id: String, user: UserName?, address: String, loop: Int) {
        self.id = id
        self.user = user
        self.address = address
        self.loop = loop
    }
}

/// Finds open connections for an operator; no message and no handshake asks it.
public protocol ConnectionDirectory: Sendable {
    /// The connection of this name; nil when there is none.
    func connection(_ id: String) async throws(StoreFailure) -> ConnectionPlace?
    /// The connections of a user, in no order.
    func connections(of user: UserName) async throws(StoreFailure) -> [ConnectionPlace]
}
