/// The pages that may open a socket, with the items of the setting.
public struct AllowedOrigins: Sendable, Equatable {
    /// The policy for handshakes.
    public let policy: OriginPolicy
    /// The items as they were written, in lower case.
    public let items: [String]

    /// `same-host` alone.
    public static let sameHost = AllowedOrigins(policy: .sameHost, items: ["same-host"])

    private init(policy: OriginPolicy, items: [String]) {
        self.policy = policy
        self.items = items
    }

    /// Reads the items of a list, at least one; throws at the first that is no origin.
    public init(parsing items: some Sequence<some StringProtocol>) throws(AdmissionSyntaxFault) {
        let items = items.map { $0.lowercased() }
        self.init(policy: try OriginPolicy(parsing: items), items: items)
    }
}

/// What is done with a connection above its rate of messages or bytes.
public enum RateLimitAction: String, Sendable, Equatable, CaseIterable {
    /// It is read from again when it has tokens; nothing is lost.
    case throttle
    /// It is closed with 4429.
    case close
}

/// What is done with a client for which more waits than its send buffer may hold.
public enum SlowClientAction: String, Sendable, Equatable, CaseIterable {
    /// It is closed with 1008.
    case close
    /// The oldest message that has not begun to go out is dropped.
    case dropOldest = "drop-oldest"
    /// The message that does not fit is dropped.
    case dropNewest = "drop-newest"
    /// Of the channel's unsent messages only the newest is kept; for channels only.
    case latest

    /// The values of `SLOW_CLIENT_ACTION`, which covers messages without a channel too.
    static let forAllMessages: [SlowClientAction] = [.close, .dropOldest, .dropNewest]
}

/// A limit that can be tried out: if `DRY_RUN` names it, it only counts what it would have refused.
///
/// The raw value is the variable's name in lower case, which is also the limit's name in metrics.
public enum DryRunLimit: String, Sendable, Equatable, CaseIterable {
    case allowedOrigins = "allowed_origins"
    case maxConnectionsPerIP = "max_connections_per_ip"
    case maxConnectionsPerUser = "max_connections_per_user"
    case connectRatePerIP = "connect_rate_per_ip"
    case messageRate = "message_rate"
    case messageRatePerIP = "message_rate_per_ip"
    case messageRatePerUser = "message_rate_per_user"
    case byteRate = "byte_rate"
    case controlRate = "control_rate"
}
