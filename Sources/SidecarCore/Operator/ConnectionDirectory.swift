/// Finds open connections for an operator; it is not used for messages or handshakes.
public protocol ConnectionDirectory: Sendable {
    /// The connection with this id; nil when there is none.
    func connection(_ id: String) async throws(StoreFailure) -> ConnectionLocation?
    /// The connections of a user, in no order.
    func connections(of user: UserName) async throws(StoreFailure) -> [ConnectionLocation]
}
