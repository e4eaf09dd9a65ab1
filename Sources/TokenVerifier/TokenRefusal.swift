/// Why a token is not accepted. No case carries anything of the token.
public enum TokenRefusal: Error, Sendable, Equatable, CaseIterable {
    /// Larger than ``TokenVerifier/maxBytes``.
    case tooLarge
    /// Not three base64url parts with JSON objects in them (RFC 7519 §7.2).
    case malformed
    /// `alg` is not on the list, or not the one of the key (RFC 8725 §3.1).
    case algorithm
    /// `crit` asks for an extension that nobody here knows (RFC 7515 §4.1.11).
    case critical
    /// No key with this `kid`.
    case unknownKey
    /// The signature is not that of the key.
    case signature
    /// It has no `exp`.
    case noExpiry
    /// `exp` has passed (RFC 7519 §4.1.4).
    case expired
    /// `nbf` has not come (RFC 7519 §4.1.5).
    case notYetValid
    /// `iss` is not on the list.
    case issuer
    /// `aud` names nobody on the list.
    case audience
    /// The claim that names the user is missing, empty, too long or no name.
    case noUser

    /// One plain sentence for the log and for whoever sent it.
    public var sentence: String {
        switch self {
        case .tooLarge: "The token is too large."
        case .malformed: "The token is malformed."
        case .algorithm: "The token's algorithm is not allowed."
        case .critical: "The token needs an extension that is not supported."
        case .unknownKey: "The token is signed with an unknown key."
        case .signature: "The token's signature is wrong."
        case .noExpiry: "The token does not expire."
        case .expired: "The token has expired."
        case .notYetValid: "The token is not valid yet."
        case .issuer: "The token's issuer is not accepted."
        case .audience: "The token's audience is not accepted."
        case .noUser: "The token names no user."
        }
    }
}
