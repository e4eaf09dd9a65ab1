/// Why a connection ended; distinguishes the causes that share a close code.
///
/// The raw value is the `reason` label of `connections_closed_total` and the `cause` in the log.
public enum CloseCause: String, Sendable, Equatable, CaseIterable {
    /// The client closed it.
    case client
    /// It broke without a Close frame.
    case connectionLost = "connection_lost"
    /// The app asked for it.
    case appClosed = "app_closed"
    /// The app answered an event with a 4xx.
    case appRefused = "app_refused"
    /// The app failed at an event, or its reply was invalid.
    case appFailed = "app_failed"
    /// The app could not be reached for as long as events are retried.
    case appUnavailable = "app_unavailable"
    /// The app did not confirm the client (`REVALIDATE_INTERVAL`).
    case revalidation
    /// An operator closed it.
    case kick
    /// The address or the user is banned.
    case ban
    /// The token has expired.
    case tokenExpired = "token_expired"
    /// A new token was not valid.
    case tokenRefused = "token_refused"
    /// The user has too many connections.
    case connectionLimit = "connection_limit"
    /// A rate was exceeded (`RATE_LIMIT_ACTION=close`).
    case rateLimited = "rate_limited"
    /// The client did not read fast enough.
    case slowClient = "slow_client"
    /// Messages of a channel are lost (`gap=close` in `CHANNEL_POLICIES`).
    case gap
    /// A ping was not answered.
    case pongTimeout = "pong_timeout"
    /// No message came for too long (`CLIENT_IDLE_TIMEOUT`).
    case idle
    /// It was as old as it may get (`MAX_CONNECTION_AGE`).
    case maxAge = "max_age"
    /// A message did not arrive completely in time.
    case assemblyTimeout = "assembly_timeout"
    /// Incomplete messages of all connections held too much.
    case assemblyBudget = "assembly_budget"
    /// The client broke the protocol.
    case protocolError = "protocol_error"
    /// The client sent text that is not UTF-8, or corrupt compressed data.
    case invalidData = "invalid_data"
    /// The client sent a message that is too big, in whatever way.
    case tooBig = "too_big"
    /// The process shuts down.
    case drain
    /// The client offered positions of an earlier session, and did not say them in time.
    case resumeFailed = "resume_failed"
    /// The node was cut off, and other nodes tell the app of the end.
    case claimed

    /// The cause that a code of ours implies when nothing more is known.
    public init(code: SessionCloseCode, initiator: CloseInitiator) {
        switch initiator {
        case .client: self = .client
        case .network: self = .connectionLost
        case .server:
            self =
                switch code {
                case .protocolError: .protocolError
                case .abnormal, .internalError: .appFailed
                case .invalidPayload: .invalidData
                case .tooBig: .tooBig
                case .serviceRestart: .drain
                case .tryAgainLater: .appUnavailable
                case .unauthorized: .tokenExpired
                case .tooManyRequests: .rateLimited
                default: .appClosed
                }
        }
    }
}

extension CloseCause {
    /// Whether a client of the protocol can resume its session after a close of ours for this cause.
    public var leavesSession: Bool {
        switch self {
        case .pongTimeout, .idle, .maxAge, .slowClient, .assemblyBudget, .tokenExpired: true
        default: false
        }
    }
}

extension DeliveryFailure {
    /// The cause of a connection that ends because of this failure.
    public var closeCause: CloseCause {
        switch closeCode {
        case .policyViolation: .appRefused
        case .tryAgainLater: .appUnavailable
        default: .appFailed
        }
    }
}
