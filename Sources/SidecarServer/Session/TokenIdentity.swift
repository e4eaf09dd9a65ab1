import NIOCore
import SidecarCore

/// What is known of a client from its token, with the timers for expiry and revalidation.
final class TokenIdentity {
    enum Stage {
        /// The client is authenticated, or need not be.
        case settled
        /// The first message has to be a token.
        case awaitsToken
        /// The token was valid, and the app has yet to accept the connection.
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
