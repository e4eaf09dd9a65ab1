import HTTP1
import Logging
import NIOCore
import SidecarCore
import TokenVerifier

/// Who may open a WebSocket: the rules and limits that hold over all event loops, in the order in which they are
/// applied to a handshake.
///
/// Handshakes take short striped locks here; the messages of an open connection take none.
final class AdmissionGuard: Sendable {
    /// Finds out who sent a request.
    let clients: ClientResolver
    /// The limits that apply to open sessions.
    let sessions: SessionAdmission

    private let ipv6Prefix: Int
    private let authenticator: Authenticator?
    private let enforcement: LimitEnforcement
    private let origins: OriginRule
    private let connectRate: ConnectRate

    /// - Parameters:
    ///   - bans: The bans of addresses and users.
    ///   - users: Counts connections and messages by user; nil to count those of this process.
    ///   - onAutoBan: Called for each automatic ban.
    convenience init(
        settings: Settings,
        metrics: ServerMetrics,
        logger: Logger,
        authenticator: Authenticator?,
        bans: any BanStore = BanList(),
        users: (any RateStore)? = nil,
        onAutoBan: @escaping @Sendable (BanSubject, TimeAmount) -> Void
    ) {
        let refusals = RefusalLog(settings: settings, logger: logger)
        let enforcement = LimitEnforcement(dryRun: settings.dryRun, metrics: metrics, refusals: refusals)
        let slots = ConnectionSlots(
            settings.connectionLimits,
            messages: settings.messageRatePerIP,
            users: users ?? LocalRateStore(messages: settings.messageRatePerUser),
            enforcement
        )
        let violations = ViolationBans(
            settings.autoBan,
            ipv6Prefix: settings.rateLimitIPv6Prefix,
            bans: bans,
            ViolationBans.Reports(metrics: metrics, logger: logger, onBan: onAutoBan)
        )
        let connectRate = ConnectRate(settings.connectRatePerIP)
        self.init(settings, authenticator, bans, enforcement, connectRate, slots, violations)
    }

    /// A guard with other settings that keeps the counts of the open connections.
    convenience init(_ settings: Settings, after old: AdmissionGuard) {
        let enforcement = LimitEnforcement(
            dryRun: settings.dryRun,
            metrics: old.enforcement.metrics,
            refusals: RefusalLog(settings, after: old.enforcement.refusals)
        )
        self.init(
            settings,
            old.authenticator,
            old.sessions.bans,
            enforcement,
            ConnectRate(settings.connectRatePerIP, after: old.connectRate),
            ConnectionSlots(settings.connectionLimits, after: old.sessions.slots, enforcement),
            ViolationBans(settings.autoBan, ipv6Prefix: settings.rateLimitIPv6Prefix, after: old.sessions.violations)
        )
    }

    private init(
        _ settings: Settings,
        _ authenticator: Authenticator?,
        _ bans: any BanStore,
        _ enforcement: LimitEnforcement,
        _ connectRate: ConnectRate,
        _ slots: ConnectionSlots,
        _ violations: ViolationBans
    ) {
        self.authenticator = authenticator
        self.enforcement = enforcement
        self.connectRate = connectRate
        ipv6Prefix = settings.rateLimitIPv6Prefix
        clients = ClientResolver(
            trusted: settings.trustedProxies,
            header: settings.clientIPHeader,
            ipv6Prefix: settings.rateLimitIPv6Prefix,
            logger: enforcement.refusals.logger
        )
        origins = OriginRule(
            policy: settings.allowedOrigins.policy,
            allowsMissing: settings.allowMissingOrigin,
            enforcement: enforcement
        )
        sessions = SessionAdmission(
            allowances: MessageAllowances(settings),
            slots: slots,
            bans: bans,
            refusals: enforcement.refusals,
            violations: violations
        )
    }

    /// Counts a handshake, even one that is refused later.
    ///
    /// - Throws: The refusal of a handshake that is banned, or came too soon after others of its address.
    func count(_ client: ResolvedClient) throws(HandshakeRejection) {
        if sessions.bans.covers(client.ip) { throw banned(client) }
        let key = client.rateLimitKey(ipv6PrefixLength: ipv6Prefix)
        guard let wait = connectRate.take(key, now: MonotonicClock.now()), !enforcement.allows(.connectRatePerIP) else {
            return
        }
        enforcement.refused(.connectRatePerIP, client)
        sessions.violations.count(by: client.ip)
        throw connectRate.rejection(retryAfter: wait)
    }

    /// Checks the page that a handshake comes from.
    func checkOrigin(of head: HTTPRequestHead, _ client: ResolvedClient) throws(HandshakeRejection) {
        try origins.check(head, client)
    }

    /// Decides about a POST of the client protocol, or a question about one.
    ///
    /// - Returns: What its page may do with the response.
    func admitPost(_ head: HTTPRequestHead, _ client: ResolvedClient) throws(HandshakeRejection) -> CrossOriginGrant {
        if sessions.bans.covers(client.ip) { throw banned(client) }
        try origins.check(head, client)
        return origins.policy.grant(
            origin: head.headers.values(of: "origin"),
            host: client.forwardedHost ?? head.headers.first("host") ?? ""
        )
    }

    /// Decides about a valid handshake before the app is asked; its page has been checked.
    ///
    /// - Throws: The refusal and its label in `handshakes_total`.
    func admit(
        _ head: HTTPRequestHead,
        _ client: ResolvedClient,
        transportKind: TransportKind
    ) throws(HandshakeRejection) -> (ConnectionSlots.Slot, HandshakeIdentity) {
        let identity = try identify(head, client, transportKind: transportKind)
        guard let slot = sessions.slots.open(for: client) else {
            sessions.violations.count(by: client.ip)
            throw sessions.slots.rejection
        }
        return (slot, identity)
    }

    private func identify(
        _ head: HTTPRequestHead,
        _ client: ResolvedClient,
        transportKind: TransportKind
    ) throws(HandshakeRejection) -> HandshakeIdentity {
        guard let authenticator else { return .anonymous }
        let identity: HandshakeIdentity
        do throws(HandshakeRejection) {
            identity = try authenticator.identify(head, transportKind: transportKind)
        } catch {
            if error.refusal.status == 401 {
                sessions.refusals.note(.token, client, ["why": "\(error.refusal.sentence)"])
                sessions.violations.count(by: client.ip)
            }
            throw error
        }
        if case .known(let token) = identity, sessions.bans.covers(user: token.user) { throw banned(client) }
        return identity
    }

    private func banned(_ client: ResolvedClient) -> HandshakeRejection {
        enforcement.metrics.limited(.ban, action: .refused)
        sessions.refusals.note(.ban, client)
        return .banned
    }
}

extension Settings {
    fileprivate var connectionLimits: ConnectionSlots.Limits {
        ConnectionSlots.Limits(
            perAddress: maxConnectionsPerIP,
            perUser: maxConnectionsPerUser,
            ipv6Prefix: rateLimitIPv6Prefix,
            trusted: trustedProxies,
            isUserShared: clusterURL != nil
        )
    }
}
