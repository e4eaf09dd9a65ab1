import SidecarCore
import TokenVerifier

/// Who a client is before the app is asked.
enum HandshakeIdentity {
    /// Unknown, which `AUTH` permits.
    case anonymous
    /// The user of a valid token.
    case known(VerifiedToken)
    /// The token will be the first message.
    case awaitsMessage
}
