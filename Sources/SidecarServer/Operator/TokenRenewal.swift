/// The result of a new token for a connection.
enum TokenRenewal: Sendable, Equatable {
    case renewed
    case noConnection
    /// The token was refused; one sentence says why.
    case refused(String)
}
