import HTTP1
import Logging
import NIOCore
import SidecarCore
import Synchronization
import TokenVerifier

/// Who may open a WebSocket: the Origin rule and the limits that hold over all event loops.
///
/// Handshakes take short striped locks here; the messages of an open connection take none.
final class AdmissionGuard: Sendable {
    /// What an admitted connection holds until it ends.
    struct Slot: Sendable {
        let address: SharedBucket?
    }

    /// What becomes of a connection when it is counted with those of its address.
    enum SocketVerdict: Sendable {
        /// A trusted proxy's, which brings many clients, or one without an address.
        case notCounted
        /// It counts until the bucket's `close()`.
        case counted(SharedBucket)
        /// Its address has too many.
        case refused
    }

    /// Connections of any kind for each WebSocket that an address may have: pages have to load, too.
    private static let socketsPerWebSocket = 2
    /// Networks that a warning was logged for; a flood of them must not fill the log or the memory.
    private static let maxWarnings = 256

    private let settings: Settings
    private let metrics: ServerMetrics
    private let logger: Logger
    private let resolver: ClientAddressResolver
    private let connectRate: RateLimitTable?
    private let connectRateSetting: Rate?
    private let connectFields: RateLimitHeaderFields?
    private let connections: BucketTable<RateLimitKey>
    private let sockets: BucketTable<RateLimitKey>
    private let users: BucketTable<UserName>
    private let warned = Mutex<Set<RateLimitKey>>([])
    private let perConnection: GCRA?
    private let bytes: GCRA?
    /// The rate of one connection's pings and pongs; nil for none.
    let controls: GCRA?
    private let violations: RateLimitTable?
    private let authenticator: Authenticator?
    /// Who may not come in.
    let bans: BanList
    /// Where the operator reads what is refused.
    let refusals: RefusalLog
    /// Hears of each automatic ban.
    private let onAutoBan: @Sendable (BanSubject, TimeAmount) -> Void

    init(
        settings: Settings,
        metrics: ServerMetrics,
        logger: Logger,
        authenticator: Authenticator?,
        onAutoBan: @escaping @Sendable (BanSubject, TimeAmount) -> Void
    ) {
        self.authenticator = authenticator
        self.onAutoBan = onAutoBan
        self.settings = settings
        self.metrics = metrics
        self.logger = logger
        refusals = RefusalLog(settings: settings, logger: logger)
        resolver = ClientAddressResolver(trusted: settings.trustedProxies, header: settings.clientIPHeader)
        var random = SystemRandomNumberGenerator()
        connectRate = settings.connectRatePerIP.map {
            RateLimitTable(GCRA($0), seed: (random.next(), random.next()))
        }
        bans = BanList()
        violations = settings.autoBan.map { RateLimitTable(GCRA($0.violations), seed: (random.next(), random.next())) }
        connectRateSetting = settings.connectRatePerIP
        connectFields = settings.connectRatePerIP.map { RateLimitHeaderFields(policy: "connect", rate: $0) }
        connections = BucketTable(settings.messageRatePerIP.map { GCRA($0) })
        sockets = BucketTable()
        users = BucketTable(settings.messageRatePerUser.map { GCRA($0) })
        perConnection = settings.messageRate.map { GCRA($0) }
        bytes = settings.byteRate.map { GCRA($0) }
        controls = settings.controlRate.map { GCRA($0) }
    }

    /// A guard with other settings that goes on counting the connections that are open.
    init(_ settings: Settings, after old: AdmissionGuard) {
        self.settings = settings
        metrics = old.metrics
        authenticator = old.authenticator
        onAutoBan = old.onAutoBan
        bans = old.bans
        violations = old.violations
        logger = old.logger
        refusals = RefusalLog(settings, after: old.refusals)
        resolver = ClientAddressResolver(trusted: settings.trustedProxies, header: settings.clientIPHeader)
        connectRateSetting = settings.connectRatePerIP
        if settings.connectRatePerIP == old.connectRateSetting {
            connectRate = old.connectRate
        } else {
            var random = SystemRandomNumberGenerator()
            connectRate = settings.connectRatePerIP.map {
                RateLimitTable(GCRA($0), seed: (random.next(), random.next()))
            }
        }
        connectFields = settings.connectRatePerIP.map { RateLimitHeaderFields(policy: "connect", rate: $0) }
        connections = old.connections
        sockets = old.sockets
        users = old.users
        perConnection = settings.messageRate.map { GCRA($0) }
        bytes = settings.byteRate.map { GCRA($0) }
        controls = settings.controlRate.map { GCRA($0) }
    }

    /// True when this peer may say who the client is.
    func trusts(peer: IPAddress?, isUnixSocket: Bool) -> Bool {
        settings.trustedProxies.trusts(peer: peer, isUnixSocket: isUnixSocket)
    }

    /// Counts a connection before anything is read from it.
    ///
    /// All are counted, even while the limit is off, so that a reload finds them.
    ///
    /// - Parameter peer: Its other end, or whom a PROXY header names; nil for a Unix socket.
    func countSocket(of peer: IPAddress?) -> SocketVerdict {
        guard let peer, !settings.trustedProxies.contains(peer) else { return .notCounted }
        let key = RateLimitKey(peer, ipv6PrefixLength: settings.rateLimitIPv6Prefix)
        let bucket = sockets.bucket(for: key, now: Self.now())
        let (limit, overflow) = settings.maxConnectionsPerIP.multipliedReportingOverflow(by: Self.socketsPerWebSocket)
        if bucket.tryOpen(limit: overflow ? .max : limit) { return .counted(bucket) }
        if allows(.maxConnectionsPerIP) {
            _ = bucket.tryOpen(limit: .max)
            return .counted(bucket)
        }
        metrics.limited(.maxConnectionsPerIP, action: .refused)
        refusals.note(.maxConnectionsPerIP, client: "\(peer)")
        return .refused
    }

    /// Finds out who sent a request.
    ///
    /// - Parameter isNamedByProxy: The peer is what a PROXY header of a trusted proxy said. It is a client then, and no
    ///   proxy that somebody forgot to trust.
    func resolve(
        peer: IPAddress?,
        isUnixSocket: Bool,
        isNamedByProxy: Bool,
        scheme: ClientScheme,
        headers: HTTPHeaders
    ) -> ResolvedClient {
        let client = resolver.resolve(
            peer: peer,
            peerIsUnixSocket: isUnixSocket,
            connectionScheme: scheme,
            headers: headers
        )
        if client.untrustedForwardingHeaderSeen, !isNamedByProxy { warnOnce(about: client) }
        return client
    }

    /// Counts a handshake, whatever becomes of it.
    ///
    /// - Throws: The refusal of one that came too soon after others of its address.
    func count(_ client: ResolvedClient) throws(HandshakeRejection) {
        if bans.covers(client.ip) {
            metrics.limited(.ban, action: .refused)
            note(.ban, client)
            throw .banned
        }
        do throws(HandshakeRejection) {
            try checkRate(client.rateLimitKey(ipv6PrefixLength: settings.rateLimitIPv6Prefix), Self.now())
        } catch {
            note(.connectRatePerIP, client)
            countViolation(by: client.ip)
            throw error
        }
    }

    /// Counts a violation of the protocol or of a limit, and bans whoever has too many (`AUTO_BAN`).
    func countViolation(by address: String) { countViolation(by: IPAddress(address)) }

    /// Forgets what an address has done, when its ban is lifted.
    func forgive(_ subject: BanSubject) {
        guard case .network(let network) = subject else { return }
        violations?.forget(RateLimitKey(network.address, ipv6PrefixLength: settings.rateLimitIPv6Prefix).addressKey)
    }

    private func countViolation(by address: IPAddress?) {
        guard let violations, let autoBan = settings.autoBan, let address else { return }
        let key = RateLimitKey(address, ipv6PrefixLength: settings.rateLimitIPv6Prefix)
        guard case .limited = violations.take(key.addressKey, now: Self.now()) else { return }
        let network = IPNetwork(
            address,
            prefixLength: address.isIPv4 ? address.bitCount : settings.rateLimitIPv6Prefix
        )
        switch bans.addAutomatic(.network(network), for: autoBan.duration, reason: "too many violations") {
        case .added:
            metrics.limited(.autoBan, action: .refused)
            onAutoBan(.network(network), autoBan.duration)
        case .replaced: break
        case .full: couldNotBan(network)
        }
    }

    private func couldNotBan(_ network: IPNetwork) {
        metrics.limited(.banTable, action: .refused)
        guard bans.shouldTellOfFullTable() else { return }
        logger.warning(
            "address not banned: no room for another automatic ban",
            metadata: ["address": "\(network)"]
        )
    }

    /// Decides about a valid handshake before the app is asked.
    ///
    /// - Throws: The refusal and its label in `handshakes_total`.
    func admit(
        _ head: HTTPRequestHead,
        _ client: ResolvedClient,
        takesMessages: Bool
    ) throws(HandshakeRejection) -> (Slot, HandshakeIdentity) {
        try checkOrigin(head, client)
        let identity = try identify(head, client, takesMessages: takesMessages)
        let key = client.rateLimitKey(ipv6PrefixLength: settings.rateLimitIPv6Prefix)
        let bucket = connections.bucket(for: key, now: Self.now())
        if !bucket.tryOpen(limit: settings.maxConnectionsPerIP) {
            if allows(.maxConnectionsPerIP) {
                _ = bucket.tryOpen(limit: .max)
            } else {
                metrics.limited(.maxConnectionsPerIP, action: .refused)
                note(.maxConnectionsPerIP, client)
                countViolation(by: client.ip)
                throw HandshakeRejection(
                    refusal: .tooManyConnections(of: "address", limit: settings.maxConnectionsPerIP),
                    result: .connectionLimit
                )
            }
        }
        return (Slot(address: bucket), identity)
    }

    private func identify(
        _ head: HTTPRequestHead,
        _ client: ResolvedClient,
        takesMessages: Bool
    ) throws(HandshakeRejection) -> HandshakeIdentity {
        guard let authenticator else { return .anonymous }
        do throws(HandshakeRejection) {
            let identity = try authenticator.identify(head, takesMessages: takesMessages)
            if case .known(let token) = identity, bans.covers(user: token.user) {
                metrics.limited(.ban, action: .refused)
                note(.ban, client)
                throw .banned
            }
            return identity
        } catch {
            if error.refusal.status == 401 {
                note(.token, client, ["why": "\(error.refusal.sentence)"])
                countViolation(by: client.ip)
            }
            throw error
        }
    }

    /// Gives back the slot of a connection that has ended.
    func leave(_ slot: Slot) {
        slot.address?.close()
    }

    /// Counts a connection with its user.
    ///
    /// - Parameter client: The address of the connection.
    /// - Returns: The user's bucket, to be closed with the connection; nil when the user has too many.
    func slot(forUser user: UserName, client: String) -> SharedBucket? {
        let bucket = users.bucket(for: user, now: Self.now())
        if bucket.tryOpen(limit: settings.maxConnectionsPerUser) { return bucket }
        if allows(.maxConnectionsPerUser) {
            _ = bucket.tryOpen(limit: .max)
            return bucket
        }
        metrics.limited(.maxConnectionsPerUser, action: .refused)
        refusals.note(.maxConnectionsPerUser, client: client, ["user": "\(user)"])
        return nil
    }

    /// What a new connection may send.
    func allowance(for slot: Slot) -> MessageAllowance {
        var allowance = MessageAllowance(perConnection: perConnection, bytes: bytes, dryRun: settings.dryRun)
        if settings.messageRatePerIP != nil { allowance.share(withAddress: slot.address) }
        return allowance
    }

    /// What an open connection may send under these settings.
    func change(_ allowance: inout MessageAllowance) {
        allowance.change(perConnection: perConnection, bytes: bytes, dryRun: settings.dryRun)
    }

    /// True when messages are counted by user.
    var limitsMessagesPerUser: Bool { settings.messageRatePerUser != nil }

    /// Monotonic nanoseconds, the clock of all rates.
    static func now() -> Int64 {
        Int64(clamping: NIODeadline.now().uptimeNanoseconds)
    }

    // MARK: Rules

    private func checkRate(_ key: RateLimitKey, _ now: Int64) throws(HandshakeRejection) {
        guard let connectRate, let connectFields else { return }
        guard case .limited(let wait) = connectRate.take(key.addressKey, now: now), !allows(.connectRatePerIP) else {
            return
        }
        metrics.limited(.connectRatePerIP, action: .refused)
        var fields = ByteBuffer()
        connectFields.writeRefused(retryAfter: wait, into: &fields)
        throw HandshakeRejection(
            refusal: Refusal(
                status: 429,
                sentence: "This address is opening connections too fast.",
                reason: .rateLimited,
                fields: String(buffer: fields)
            ),
            result: .rateLimited
        )
    }

    private func checkOrigin(_ head: HTTPRequestHead, _ client: ResolvedClient) throws(HandshakeRejection) {
        let decision = settings.allowedOrigins.policy.decide(
            origin: head.headers.values(of: "origin"),
            fetchSite: head.headers.values(of: "sec-fetch-site"),
            host: client.forwardedHost ?? head.headers.first("host") ?? "",
            scheme: client.scheme,
            allowMissing: settings.allowMissingOrigin
        )
        guard case .refused(let why) = decision, !allows(.allowedOrigins) else { return }
        metrics.limited(.allowedOrigins, action: .refused)
        note(
            .allowedOrigins,
            client,
            ["origin": "\(head.headers.first("origin") ?? "")", "why": "\(why.sentence)"]
        )
        throw HandshakeRejection(
            refusal: Refusal(status: 403, sentence: why.sentence, reason: .origin),
            result: .origin
        )
    }

    private func note(
        _ kind: RefusalKind,
        _ client: ResolvedClient,
        _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        refusals.note(
            kind,
            client: client.address,
            sentForwardingHeader: client.untrustedForwardingHeaderSeen,
            more()
        )
    }

    /// True for a limit in a dry run, which is counted and lets pass.
    private func allows(_ limit: DryRunLimit) -> Bool {
        guard settings.dryRun.contains(limit) else { return false }
        metrics.limited(Limit(limit), action: .dryRun)
        return true
    }

    private func warnOnce(about client: ResolvedClient) {
        let network = client.rateLimitKey(ipv6PrefixLength: settings.rateLimitIPv6Prefix)
        let isNew = warned.withLock { $0.count < Self.maxWarnings && $0.insert(network).inserted }
        guard isNew else { return }
        logger.warning(
            "an untrusted peer sends forwarding headers; all clients behind it count as one address",
            metadata: [
                "peer": "\(client.address)",
                "remedy":
                    "if it is your load balancer, set SIDESOCKET_TRUSTED_PROXIES=\(client.ip == nil ? "loopback" : client.address)",
            ]
        )
    }
}

extension Refusal {
    /// Seconds after which a client that has too many connections open may look again.
    private static let connectionRetry: Int64 = 10

    /// What a client is told whose address or user has as many connections as allowed.
    static func tooManyConnections(of whom: String, limit: Int) -> Refusal {
        var fields = ByteBuffer()
        RateLimitHeaderFields(policy: "connections-per-\(whom)", atOnce: limit)
            .writeRefused(retryAfter: connectionRetry * 1_000_000_000, into: &fields)
        return Refusal(
            status: 429,
            sentence: "This \(whom) has too many connections open.",
            reason: .connectionLimit,
            fields: String(buffer: fields)
        )
    }
}

/// A handshake that is not let in.
struct HandshakeRejection: Error {
    let refusal: Refusal
    let result: HandshakeResult
}
