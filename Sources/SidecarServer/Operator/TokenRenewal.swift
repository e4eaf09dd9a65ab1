/// What came of a new token for a connection.
enum TokenRenewal: Sendable, Equatable {
    case renewed
    case noConnection
    /// Why not, in one sentence.
    case refused(String)
}
