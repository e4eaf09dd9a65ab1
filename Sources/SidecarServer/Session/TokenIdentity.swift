import NIOCore
import SidecarCore

/// What a session knows of its client by a token, and when it asks again.
final class TokenIdentity {
    enum Stage {
        /// The client is who it is.
        case settled
        /// Its first message has to be a token.
        case awaitsToken
        /// The token was good, and the app has yet to accept the connection.
        case awaitsApp
    }

    var stage = Stage.settled
    var claims: [ConnectionIdentity.Claim]
    var tokenUser: UserName?
    var expiresAt = 0.0
    let expiry = CallbackTimer()
    let revalidation = CallbackTimer()

    init(claims: [ConnectionIdentity.Claim] = []) {
        self.claims = claims
    }
}
