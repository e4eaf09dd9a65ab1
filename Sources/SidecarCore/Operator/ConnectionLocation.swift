/// Which event loop owns a connection, and whose it is.
public struct ConnectionLocation: Sendable, Equatable {
    /// Its id.
    public let id: String
    /// Its user, if known.
    public let user: UserName?
    /// The client's address.
    public let address: String
    /// The event loop that owns it, by its number.
    public let loop: Int

    /// A location.
    public init(id: String, user: UserName?, address: String, loop: Int) {
        self.id = id
        self.user = user
        self.address = address
        self.loop = loop
    }
}
