import Logging
import NIOCore
import SidecarCore
import TokenVerifier

/// What a session knows of its client by a token, and when it asks again.
final class SessionIdentity {
    enum Stage {
        /// The client is who it is.
        case settled
        /// Its first message has to be a token.
        case awaitsToken
        /// The token was good, and the app has yet to accept the connection.
        case awaitsApp
    }

    fileprivate(set) var stage = Stage.settled
    fileprivate(set) var claims: [ConnectionIdentity.Claim]
    fileprivate var tokenUser: UserName?
    fileprivate var expiresAt = 0.0
    fileprivate let expiry = CallbackTimer()
    fileprivate let revalidation = CallbackTimer()

    init(claims: [ConnectionIdentity.Claim] = []) {
        self.claims = claims
    }
}

extension BridgeSession {
    private var authenticator: Authenticator? { shard.state.authenticator }

    private func makeIdentity() -> SessionIdentity {
        let made = clientIdentity ?? SessionIdentity()
        clientIdentity = made
        return made
    }

    // MARK: Tokens

    /// Takes over what a token says; false when its user has too many connections.
    func adopt(_ token: VerifiedToken) -> Bool {
        let identity = makeIdentity()
        // The app may have given the user another name since; a new token of the same user leaves that alone.
        if identity.tokenUser != token.user, user != token.user {
            guard takeSlot(ofUser: token.user) else { return false }
        }
        identity.tokenUser = token.user
        identity.claims = token.claims.map { ConnectionIdentity.Claim(name: $0.name, value: $0.value) }
        identity.expiresAt = token.expiresAt
        writeIdentity()
        armExpiry(identity)
        return true
    }

    /// Begins a session whose client has yet to say who it is: the app hears nothing of it before.
    func startAwaitingToken() {
        let identity = makeIdentity()
        identity.stage = .awaitsToken
        shard.insert(self)
        identity.expiry.arm(in: shard.timers, at: .now() + shard.configuration.settings.authTimeout) { [weak self] _ in
            self?.refuseToken("no token was received in time")
        }
    }

    /// True when a message of the client was a token and goes nowhere else.
    func takesToken(_ format: MessageFormat, _ payload: ByteBuffer) -> Bool {
        if let identity = clientIdentity, identity.stage == .awaitsToken {
            takeFirstToken(TokenFinder.first(format, payload), identity)
            return true
        }
        guard authenticator?.takesMessages == true, let token = TokenFinder.renewal(format, payload) else {
            return false
        }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            if !mayRenew(with: verified) {
                close(code: 4403, reason: "the token is for another user", discarding: true, for: .tokenRefused)
            } else if shard.admission.bans.covers(user: verified.user) {
                shard.metrics.limited("ban", action: "closed")
                close(code: 4403, reason: "access is denied", discarding: true, for: .ban)
            } else if !adopt(verified) {
                close(
                    code: 1008,
                    reason: "this user has too many connections open",
                    discarding: true,
                    for: .connectionLimit
                )
            }
        } catch {
            countViolation()
            close(code: 4401, reason: error.sentence, discarding: true, for: .tokenRefused)
        }
        return true
    }

    private func takeFirstToken(_ token: String?, _ identity: SessionIdentity) {
        guard let token else { return refuseToken("the first message is not a token") }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            let bans = shard.admission.bans
            guard !bans.covers(user: verified.user), !bans.covers(IPAddress(clientAddress)) else {
                shard.metrics.limited("ban", action: "refused")
                return refuse("access is denied", code: 4403, as: .auth)
            }
            identity.stage = .awaitsApp
            identity.expiry.cancel(in: shard.timers)
            guard adopt(verified) else {
                identity.stage = .awaitsToken
                return refuse("this user has too many connections open", code: 1008, as: .connectionLimit)
            }
            begin()
        } catch {
            refuseToken(error.sentence)
        }
    }

    private func verify(_ token: String) throws(TokenRefusal) -> VerifiedToken {
        guard let authenticator else { throw .unknownKey }
        return try authenticator.verify(token)
    }

    /// A connection may be renewed for its user, and one without may get one.
    private func mayRenew(with token: VerifiedToken) -> Bool {
        guard let known = clientIdentity?.tokenUser ?? user else { return true }
        return known == token.user
    }

    /// Ends a socket that never told who it is.
    private func refuseToken(_ why: String) {
        countViolation()
        refuse(why, code: 4401, as: .auth)
    }

    private func refuse(_ why: String, code: UInt16, as result: HandshakeResult) {
        logRefused(why: why)
        closeTransport(code: code, reason: why)
        leaveUnknown(as: result)
    }

    /// True for a socket that has yet to tell who it is.
    var awaitsToken: Bool { clientIdentity?.stage == .awaitsToken }
    /// True while nothing of the client can be taken: the app has yet to accept it.
    var awaitsApp: Bool { clientIdentity?.stage == .awaitsApp }

    /// The app has accepted the connection.
    func identitySettled() {
        if let identity = clientIdentity {
            identity.stage = .settled
            // It may have expired while the app thought about it.
            if identity.tokenUser != nil { armExpiry(identity) }
        }
        armRevalidation()
    }

    func cancelIdentityTimers() {
        clientIdentity?.expiry.cancel(in: shard.timers)
        clientIdentity?.revalidation.cancel(in: shard.timers)
    }

    /// The app hands over a new token in an answer.
    func renew(byApp token: String) {
        if case .refused(let why) = renewed(with: token) {
            shard.logger.warning(
                "new token from the app refused",
                metadata: ["connection": "\(id)", "client": "\(clientAddress)", "why": "\(why)"]
            )
        }
    }

    /// Takes a new token for the same user; the old one holds if it is not good.
    func renewed(with token: String) -> TokenRenewal {
        guard machine.isRunning else { return .noConnection }
        guard authenticator != nil else { return .refused("AUTH is off.") }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            guard mayRenew(with: verified) else { return .refused("The token is for another user.") }
            guard !shard.admission.bans.covers(user: verified.user) else { return .refused("The user is banned.") }
            return adopt(verified) ? .renewed : .refused("This user has too many connections open.")
        } catch {
            return .refused(error.sentence)
        }
    }

    private func armExpiry(_ identity: SessionIdentity) {
        let left = identity.expiresAt - Double(WallClock.unixMilliseconds()) / 1000
        // Far ahead of any clock there is the same as never; a year from now we look again.
        let wait = TimeAmount.nanoseconds(Int64(min(max(left, 0), 365 * 86_400) * 1e9))
        identity.expiry.arm(in: shard.timers, at: .now() + wait) { [weak self] _ in self?.expired() }
    }

    private func expired() {
        guard let identity = clientIdentity, identity.stage != .awaitsToken else { return }
        // The wall clock may have been set back meanwhile.
        if identity.expiresAt - Double(WallClock.unixMilliseconds()) / 1000 > 0.05 { return armExpiry(identity) }
        shard.metrics.limited("token_expiry", action: "closed")
        close(code: 4401, reason: "the token has expired", discarding: true)
    }

    /// Who the client is now.
    var currentIdentity: ConnectionIdentity {
        ConnectionIdentity(user: user, state: state, claims: clientIdentity?.claims ?? [])
    }

    // MARK: Revalidation

    func armRevalidation() {
        let interval = shard.configuration.settings.revalidateInterval
        guard interval != Settings.never, machine.isRunning else { return }
        let factor = Double.random(in: 0.9..<1.1)
        let wait = TimeAmount.nanoseconds(Int64(Double(interval.nanoseconds) * factor))
        makeIdentity().revalidation.arm(in: shard.timers, at: .now() + wait) { [weak self] _ in
            self?.revalidate()
        }
    }
}
