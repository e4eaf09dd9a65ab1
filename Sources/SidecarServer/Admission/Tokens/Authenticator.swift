import HTTP1
import NIOCore
public import SidecarCore
import Synchronization
import TokenVerifier

/// Verifies the tokens of clients, as `AUTH` and `JWT_…` say.
public final class Authenticator: Sendable {
    private struct State {
        var verifier: TokenVerifier
        var hasKeys: Bool
    }

    private let isRequired: Bool
    private let finder: TokenFinder
    private let keyOfSettings: TokenKeys
    private let state: Mutex<State>
    private let missesKey = Atomic<Bool>(false)
    let algorithms: [TokenAlgorithm]

    /// Reads the key in the settings; nil when `AUTH` is off.
    public static func make(_ settings: Settings) async throws -> Authenticator? {
        guard settings.auth != .off else { return nil }
        let algorithms = settings.jwtAlgorithms ?? []
        var keys = TokenKeys()
        if let key = settings.jwtKey {
            keys = try await TokenKeys(
                text: key,
                id: settings.jwtKeyID,
                algorithms: algorithms,
                isOnly: settings.jwtKeySetURL == nil
            )
        }
        return Authenticator(settings, algorithms: algorithms, keys: keys)
    }

    private init(_ settings: Settings, algorithms: [TokenAlgorithm], keys: TokenKeys) {
        isRequired = settings.auth == .required
        finder = TokenFinder(settings.jwtSources)
        self.algorithms = algorithms
        keyOfSettings = keys
        let policy = TokenPolicy(
            algorithms: algorithms,
            issuers: settings.jwtIssuers ?? [],
            audiences: settings.jwtAudiences ?? [],
            userClaim: settings.jwtUserClaim,
            leeway: Double(settings.jwtLeeway.nanoseconds) / 1e9,
            forwardedClaims: (settings.jwtForwardClaims ?? []).map {
                TokenPolicy.ForwardedClaim(claim: $0, name: Settings.claimAttribute($0))
            }
        )
        state = Mutex(State(verifier: TokenVerifier(policy: policy, keys: keys), hasKeys: settings.jwtKey != nil))
    }

    /// True when clients may send tokens as messages.
    var takesMessages: Bool { finder.takesMessages }

    /// Who sent a handshake.
    ///
    /// - Parameter transportKind: What the client asks for; it may let the client send its token as a message.
    /// - Throws: A refusal with 401, or 503 while no key is available yet.
    func identify(
        _ head: HTTPRequestHead,
        transportKind: TransportKind
    ) throws(HandshakeRejection) -> HandshakeIdentity {
        switch finder.find(in: head) {
        case .token(let token):
            guard state.withLock({ $0.hasKeys }) else { throw .keysNotThere }
            do throws(TokenRefusal) {
                return .known(try verify(token))
            } catch {
                throw .badToken(error.sentence)
            }
        case .ambiguous:
            throw .badToken("There is more than one token, or one that cannot be read.")
        case .nothing where isRequired && finder.takesMessages && transportKind.mayAuthenticateLater:
            return .awaitsMessage
        case .nothing where isRequired:
            throw .badToken("A token is required.")
        case .nothing:
            return .anonymous
        }
    }

    /// Verifies a token at the current time.
    func verify(_ token: String) throws(TokenRefusal) -> VerifiedToken {
        let verifier = state.withLock { $0.verifier }
        do throws(TokenRefusal) {
            return try verifier.verify(token, now: Double(WallClock.unixMilliseconds()) / 1000)
        } catch {
            if error == .unknownKey { missesKey.store(true, ordering: .relaxed) }
            throw error
        }
    }

    // MARK: Keys that the issuer publishes

    /// True once after a token named an unknown key.
    func takeMissedKey() -> Bool { missesKey.exchange(false, ordering: .relaxed) }

    /// Replaces the key set; the key from the settings stays.
    func replaceKeySet(_ keys: TokenKeys) {
        let all = keys.merging(keyOfSettings)
        state.withLock {
            $0.verifier = TokenVerifier(policy: $0.verifier.policy, keys: all)
            $0.hasKeys = true
        }
    }
}

extension HandshakeRejection {
    /// The refusal when there is no valid token (RFC 6750 §3).
    fileprivate static func badToken(_ why: String) -> HandshakeRejection {
        HandshakeRejection(
            refusal: Refusal(
                status: 401,
                sentence: why,
                reason: .auth,
                fields: [ResponseField("WWW-Authenticate", "Bearer realm=\"sidesocket\"")]
            ),
            result: .auth
        )
    }

    fileprivate static var keysNotThere: HandshakeRejection {
        HandshakeRejection(
            refusal: Refusal(
                status: 503,
                sentence: "Tokens cannot be verified yet; try again later.",
                reason: .auth,
                retryAfter: ServerConfiguration.retryAfter()
            ),
            result: .auth
        )
    }
}
