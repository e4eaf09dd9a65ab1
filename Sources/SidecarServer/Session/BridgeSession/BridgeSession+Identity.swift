import Logging
import NIOCore
import SidecarCore
import TokenVerifier

extension BridgeSession {
    static let tooManyConnections = "this user has too many connections open"

    func mark(user: UserName?, state: String?) {
        if let user, user != self.user ?? "" {
            self.user = nil
            slots.releaseUser(in: context.admission.slots)
            allowance.share(withUser: nil)
            if !machine.isRunning {
                // The client has gone. Its close event has the user, but a slot would never be given back.
                self.user = user.isEmpty ? nil : user
            } else if !user.isEmpty, !takeSlot(ofUser: user) {
                close(code: .policyViolation, reason: Self.tooManyConnections, for: .connectionLimit)
            } else if context.admission.bans.covers(user: user) {
                closeAsBanned()
            }
        }
        if let state { identity.state = state.isEmpty ? nil : state }
        writeIdentity()
    }

    /// Rewrites the fields that say who the client is.
    func writeIdentity() {
        identity.prepared = context.configuration.dialect.prepare(identity.facts)
        journalIdentity()
        context.registrations?.changed(self)
    }

    private var authenticator: Authenticator? { context.authenticator }

    private func makeToken() -> TokenIdentity {
        let made = identity.token ?? TokenIdentity()
        identity.token = made
        return made
    }

    /// Notes a token for the session that the client goes on with; the user's slot is that session's.
    func hold(_ token: VerifiedToken) { makeToken().adopt(token) }

    /// Takes over who the client is from the session that it goes on with.
    func adopt(_ facts: ConnectionIdentity, _ token: TokenIdentity.Facts?) {
        if let token { makeToken().adopt(token) }
        user = facts.user
        identity.state = facts.state
        identity.prepared = context.configuration.dialect.prepare(identity.facts)
        journalIdentity()
    }

    // MARK: Tokens

    /// Takes over the claims of a token; false when its user has too many connections.
    func adopt(_ token: VerifiedToken) -> Bool {
        let known = makeToken()
        // The app may have renamed the user since; a new token for the same user does not change that.
        if known.user != token.user, user != token.user {
            guard takeSlot(ofUser: token.user) else { return false }
        }
        known.adopt(token)
        writeIdentity()
        armExpiry(known)
        return true
    }

    /// Starts a session whose client has yet to authenticate; the app is not told of it before.
    func startAwaitingToken() {
        let token = makeToken()
        token.stage = .awaitsToken
        context.registry.insert(self)
        token.armArrival(in: context.timers, after: context.settings.authTimeout) { [weak self] in
            self?.refuseToken("no token was received in time")
        }
    }

    /// True when a message was a token and is not passed on.
    func takesToken(_ format: MessageFormat, _ payload: ByteBuffer) -> Bool {
        if let known = identity.token, known.stage == .awaitsToken {
            takeFirstToken(TokenFinder.first(format, payload), known)
            return true
        }
        guard authenticator?.takesMessages == true, let token = TokenFinder.renewal(format, payload) else {
            return false
        }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            if !mayRenew(with: verified) {
                close(code: .forbidden, reason: "the token is for another user", discarding: true, for: .tokenRefused)
            } else if context.admission.bans.covers(user: verified.user) {
                closeAsBanned()
            } else if !adopt(verified) {
                close(
                    code: .policyViolation,
                    reason: Self.tooManyConnections,
                    discarding: true,
                    for: .connectionLimit
                )
            }
        } catch {
            countViolation()
            close(code: .unauthorized, reason: error.sentence, discarding: true, for: .tokenRefused)
        }
        return true
    }

    func takeFirstToken(_ token: String?, _ known: TokenIdentity) {
        guard let token else { return refuseToken("the first message is not a token") }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            let bans = context.admission.bans
            guard !bans.covers(user: verified.user), !bans.covers(IPAddress(clientAddress)) else {
                context.metrics.limited(.ban, action: .refused)
                return refuse("access is denied", code: .forbidden, as: .auth)
            }
            known.stage = .awaitsApp
            known.cancelArrival(in: context.timers)
            guard adopt(verified) else {
                known.stage = .awaitsToken
                return refuse(Self.tooManyConnections, code: .policyViolation, as: .connectionLimit)
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

    /// A token may renew the connection for the same user, or name the user of a connection without one.
    private func mayRenew(with token: VerifiedToken) -> Bool {
        guard let known = identity.token?.user ?? user else { return true }
        return known == token.user
    }

    /// Ends a socket that did not authenticate.
    func refuseToken(_ why: String) {
        countViolation()
        refuse(why, code: .unauthorized, as: .auth)
    }

    private func refuse(_ why: String, code: SessionCloseCode, as result: HandshakeResult) {
        logRefused(why: why)
        closeTransport(code: code, reason: why)
        leaveUnknown(as: result)
    }

    /// True for a socket that has yet to authenticate.
    var awaitsToken: Bool { identity.token?.stage == .awaitsToken }
    /// True while messages cannot be processed: the app has yet to accept the connection.
    var awaitsApp: Bool { identity.token?.stage == .awaitsApp }

    /// The app has accepted the connection.
    func identitySettled() {
        if let token = identity.token {
            token.stage = .settled
            // The token may have expired while the app decided.
            if token.user != nil { armExpiry(token) }
        }
        armRevalidation()
    }

    func cancelIdentityTimers() {
        identity.token?.cancelTimers(in: context.timers)
    }

    /// Applies a new token that the app sent in a reply.
    func renew(byApp token: String) {
        if case .refused(let why) = renewed(with: token) {
            context.log.logger.warning(
                "new token from the app refused",
                metadata: ["connection": "\(id)", "client": "\(clientAddress)", "why": "\(why)"]
            )
        }
    }

    /// Applies a new token for the same user; the old one stays in force if the new one is not valid.
    func renewed(with token: String) -> TokenRenewal {
        guard machine.isRunning else { return .noConnection }
        guard authenticator != nil else { return .refused("AUTH is off.") }
        do throws(TokenRefusal) {
            let verified = try verify(token)
            guard mayRenew(with: verified) else { return .refused("The token is for another user.") }
            guard !context.admission.bans.covers(user: verified.user) else { return .refused("The user is banned.") }
            return adopt(verified) ? .renewed : .refused("This user has too many connections open.")
        } catch {
            return .refused(error.sentence)
        }
    }

    private func armExpiry(_ token: TokenIdentity) {
        token.armExpiry(in: context.timers) { [weak self] in
            guard let self else { return }
            context.metrics.limited(.tokenExpiry, action: .closed)
            close(code: .unauthorized, reason: "the token has expired", discarding: true)
        }
    }

    // MARK: Revalidation

    func armRevalidation() {
        let interval = context.settings.revalidateInterval
        guard interval != Settings.never, machine.isRunning else { return }
        makeToken().armRevalidation(in: context.timers, every: interval) { [weak self] in self?.revalidate() }
    }
}
