/// Whether a client needs a token (`AUTH`).
public enum AuthMode: String, Sendable, Equatable, CaseIterable {
    /// Tokens are ignored.
    case off
    /// A client without a token is anonymous; a token that is sent must be valid.
    case optional
    /// A client without a valid token is refused.
    case required
}
