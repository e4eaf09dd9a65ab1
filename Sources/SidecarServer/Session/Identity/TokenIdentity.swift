import NIOCore
import SidecarCore
import TokenVerifier

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
    private(set) var claims: [ConnectionIdentity.Claim]
    /// The user of the last token; nil without one.
    private(set) var user: UserName?
    /// In seconds since 1970.
    private var expiresAt = 0.0
    private let expiry = CallbackTimer()
    private let revalidation = CallbackTimer()

    init(claims: [ConnectionIdentity.Claim] = []) {
        self.claims = claims
    }

    /// Takes over what a verified token says.
    func adopt(_ token: VerifiedToken) {
        user = token.user
        claims = token.claims.map { ConnectionIdentity.Claim(name: $0.name, value: $0.value) }
        expiresAt = token.expiresAt
    }

    /// What is known of a client from its token.
    struct Facts: Sendable {
        let claims: [ConnectionIdentity.Claim]
        let user: UserName?
        /// In seconds since 1970.
        let expiresAt: Double
    }

    var facts: Facts { Facts(claims: claims, user: user, expiresAt: expiresAt) }

    /// Takes over what was known of the client, unless its new connection has brought a token.
    func adopt(_ facts: Facts) {
        guard user == nil else { return }
        claims = facts.claims
        user = facts.user
        expiresAt = facts.expiresAt
    }

    // MARK: Deadlines

    /// Calls back when no token has come in time.
    func armArrival(in timers: ShardTimers, after timeout: TimeAmount, _ action: @escaping () -> Void) {
        expiry.arm(in: timers, at: timers.eventLoop.now + timeout) { _ in action() }
    }

    /// The token that was awaited has come.
    func cancelArrival(in timers: ShardTimers) { expiry.cancel(in: timers) }

    /// Calls back when the token has expired.
    func armExpiry(in timers: ShardTimers, _ action: @escaping () -> Void) {
        // An expiry far in the future is checked again after a year.
        let wait = TimeAmount.nanoseconds(Int64(min(max(secondsLeft, 0), 365 * 86_400) * 1e9))
        expiry.arm(in: timers, at: timers.eventLoop.now + wait) { [weak self] _ in
            guard let self, self.stage != .awaitsToken else { return }
            // The wall clock may have been set back.
            if self.secondsLeft > 0.05 { self.armExpiry(in: timers, action) } else { action() }
        }
    }

    private var secondsLeft: Double { expiresAt - Double(WallClock.unixMilliseconds()) / 1000 }

    /// Calls back when the app is to be asked again; each connection at another time, ±10 %.
    func armRevalidation(in timers: ShardTimers, every interval: TimeAmount, _ action: @escaping () -> Void) {
        let wait = TimeAmount.nanoseconds(Int64(Double(interval.nanoseconds) * .random(in: 0.9..<1.1)))
        revalidation.arm(in: timers, at: timers.eventLoop.now + wait) { _ in action() }
    }

    func cancelTimers(in timers: ShardTimers) {
        expiry.cancel(in: timers)
        revalidation.cancel(in: timers)
    }
}
