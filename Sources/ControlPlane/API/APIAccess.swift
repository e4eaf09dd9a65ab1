/// Who may use the API of a listener.
enum APIAccess: Sendable {
    /// Whoever has this bearer token.
    case token(String)
    /// Everybody: only this machine reaches the listener.
    case open
    /// Nobody: there is no token, and others reach the listener.
    case closed
}
