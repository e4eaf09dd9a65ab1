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
