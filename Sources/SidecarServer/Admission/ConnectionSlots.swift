import Logging
import SidecarCore

/// How many connections an address and a user may have (`MAX_CONNECTIONS_PER_IP`, `MAX_CONNECTIONS_PER_USER`).
///
/// Connections are counted even while a limit is off, so that it is exact after a reload turns it on.
struct ConnectionSlots: Sendable {
    /// What an admitted connection holds until it ends.
    struct Slot: Sendable {
        let address: SharedBucket?
    }

    /// The result of counting a connection with those of its address.
    enum SocketVerdict: Sendable {
        /// Not counted: it comes from a trusted proxy, which serves many clients, or has no address.
        case notCounted
        /// It counts until the bucket's `close()`.
        case counted(SharedBucket)
        /// Its address has too many.
        case refused
    }

    /// How many there may be, and how addresses are told apart.
    struct Limits: Sendable {
        let perAddress: Int
        let perUser: Int
        /// Bits of an IPv6 address that count as one address.
        let ipv6Prefix: Int
        /// Proxies, whose connections serve many clients.
        let trusted: TrustedProxies
        /// Whether the connections of a user are counted over several nodes, so that it is not decided here.
        let isUserShared: Bool

        init(
            perAddress: Int,
            perUser: Int,
            ipv6Prefix: Int = 64,
            trusted: TrustedProxies = .none,
            isUserShared: Bool = false
        ) {
            self.isUserShared = isUserShared
            self.perAddress = perAddress
            self.perUser = perUser
            self.ipv6Prefix = ipv6Prefix
            self.trusted = trusted
        }
    }

    /// Connections of any kind for each WebSocket that an address may have, since pages have to load too.
    private static let socketsPerWebSocket = 2

    private let limits: Limits
    private let enforcement: LimitEnforcement
    private let sockets: BucketTable<RateLimitKey>
    private let connections: BucketTable<RateLimitKey>
    private let users: any RateStore

    /// - Parameter messages: The rate of the messages of an address; nil for none.
    init(_ limits: Limits, messages: Rate?, users: any RateStore, _ enforcement: LimitEnforcement) {
        self.limits = limits
        self.enforcement = enforcement
        self.users = users
        sockets = BucketTable()
        connections = BucketTable(messages.map { GCRA($0) })
    }

    /// Other limits for the connections that are already counted.
    init(_ limits: Limits, after old: ConnectionSlots, _ enforcement: LimitEnforcement) {
        self.limits = limits
        self.enforcement = enforcement
        users = old.users
        sockets = old.sockets
        connections = old.connections
    }

    /// Counts a connection before anything is read from it.
    ///
    /// - Parameter peer: Its peer, or the address from a PROXY header; nil for a Unix socket.
    func countSocket(of peer: IPAddress?, now: Int64 = MonotonicClock.now()) -> SocketVerdict {
        guard let peer, !limits.trusted.contains(peer) else { return .notCounted }
        let key = RateLimitKey(peer, ipv6PrefixLength: limits.ipv6Prefix)
        let bucket = sockets.bucket(for: key, now: now)
        let (limit, overflow) = limits.perAddress.multipliedReportingOverflow(by: Self.socketsPerWebSocket)
        if bucket.tryOpen(limit: overflow ? .max : limit) { return .counted(bucket) }
        if enforcement.allows(.maxConnectionsPerIP) {
            _ = bucket.tryOpen(limit: .max)
            return .counted(bucket)
        }
        enforcement.refused(.maxConnectionsPerIP, client: "\(peer)")
        return .refused
    }

    /// Counts a WebSocket or event stream with those of its address.
    ///
    /// - Returns: Nil when the address has too many.
    func open(for client: ResolvedClient, now: Int64 = MonotonicClock.now()) -> Slot? {
        let bucket = connections.bucket(for: client.rateLimitKey(ipv6PrefixLength: limits.ipv6Prefix), now: now)
        if bucket.tryOpen(limit: limits.perAddress) { return Slot(address: bucket) }
        if enforcement.allows(.maxConnectionsPerIP) {
            _ = bucket.tryOpen(limit: .max)
            return Slot(address: bucket)
        }
        enforcement.refused(.maxConnectionsPerIP, client)
        return nil
    }

    /// The refusal of a client whose address has too many connections.
    var rejection: HandshakeRejection {
        HandshakeRejection(
            refusal: .tooManyConnections(of: .address, limit: limits.perAddress),
            result: .connectionLimit
        )
    }

    /// Gives back the slot of a connection that has ended.
    func close(_ slot: Slot) { slot.address?.close() }

    /// Counts a connection with its user.
    ///
    /// - Parameters:
    ///   - client: The address of the connection.
    ///   - makeRoom: Called for a user who has too many; returns whether one of them ends.
    /// - Returns: The user's bucket, to be given back when the connection ends; nil when the user has too many
    ///   connections.
    func open(
        for user: UserName,
        client: String,
        now: Int64 = MonotonicClock.now(),
        makeRoom: () -> Bool = { false }
    ) -> SharedBucket? {
        let limit = limits.isUserShared ? .max : limits.perUser
        if let bucket = users.tryOpen(user, limit: limit, now: now) { return bucket }
        if enforcement.allows(.maxConnectionsPerUser) || makeRoom() {
            return users.tryOpen(user, limit: .max, now: now)
        }
        enforcement.refused(.maxConnectionsPerUser, client: client, ["user": "\(user)"])
        return nil
    }

    /// Counts a session that was counted on another node.
    func takeOver(_ user: UserName, now: Int64 = MonotonicClock.now()) -> SharedBucket? {
        users.tryOpen(user, limit: .max, now: now)
    }

    /// The most connections of a user.
    var perUser: Int { limits.perUser }

    /// Whether a user's limit is only counted (`DRY_RUN`).
    var isUserLimitDry: Bool { enforcement.dryRun.contains(.maxConnectionsPerUser) }

    /// Whether a user who has too many connections on all nodes is refused.
    func refuses(_ user: UserName, client: String) -> Bool {
        if enforcement.allows(.maxConnectionsPerUser) { return false }
        enforcement.refused(.maxConnectionsPerUser, client: client, ["user": "\(user)"])
        return true
    }

    /// A user is connected to so many nodes, which share the rate of its messages.
    func share(_ user: UserName, among nodes: Int, now: Int64 = MonotonicClock.now()) {
        users.share(user, among: nodes, now: now)
    }

    /// Gives back a user's bucket when the connection has ended or now belongs to another user.
    func close(_ bucket: SharedBucket, of user: UserName) { users.close(bucket, of: user) }
}
