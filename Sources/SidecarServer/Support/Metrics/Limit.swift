import SidecarCore
import WebSocketProtocol

/// A limit that clients can reach, the `limit` label of `limited_total`.
enum Limit: String, CaseIterable {
    case maxConnections = "max_connections"
    case maxTotalPendingBytes = "max_total_pending_bytes"
    case handshakeQueue = "handshake_queue"
    case handshakeTimeout = "handshake_timeout"
    case breaker
    case messageAssemblyTimeout = "message_assembly_timeout"
    case clientIdleTimeout = "client_idle_timeout"
    case maxConnectionAge = "max_connection_age"
    case tokenExpiry = "token_expiry"
    case ban
    case autoBan = "auto_ban"
    /// No room for an automatic ban.
    case banTable = "ban_table"
    case messageTooBig = "message_too_big"
    case tooManyFragments = "too_many_fragments"
    case compressionRatio = "compression_ratio"
    /// What is kept for a client of the protocol that may return.
    case sessionBuffer = "session_buffer"
    case maxDetached = "max_detached"
    case clientEventRate = "client_event_rate"
    /// Failed calls of the control API.
    case apiRefusals = "api_refusals"
    // Those of `DRY_RUN`.
    case allowedOrigins = "allowed_origins"
    case maxConnectionsPerIP = "max_connections_per_ip"
    case maxConnectionsPerUser = "max_connections_per_user"
    case connectRatePerIP = "connect_rate_per_ip"
    case messageRate = "message_rate"
    case messageRatePerIP = "message_rate_per_ip"
    case messageRatePerUser = "message_rate_per_user"
    case byteRate = "byte_rate"
    case controlRate = "control_rate"

    init(_ limit: DryRunLimit) {
        switch limit {
        case .allowedOrigins: self = .allowedOrigins
        case .maxConnectionsPerIP: self = .maxConnectionsPerIP
        case .maxConnectionsPerUser: self = .maxConnectionsPerUser
        case .connectRatePerIP: self = .connectRatePerIP
        case .messageRate: self = .messageRate
        case .messageRatePerIP: self = .messageRatePerIP
        case .messageRatePerUser: self = .messageRatePerUser
        case .byteRate: self = .byteRate
        case .controlRate: self = .controlRate
        }
    }

    /// The limit that a message exceeded; nil for a violation of the protocol.
    init?(_ violation: ProtocolViolation) {
        switch violation {
        case .messageTooBig: self = .messageTooBig
        case .tooManyFragments: self = .tooManyFragments
        case .compressionRatio: self = .compressionRatio
        case .reservedBitSet, .reservedOpcode, .unmaskedFrame, .nonMinimalLength, .negativeLength,
            .controlFrameTooLong, .fragmentedControlFrame, .unexpectedContinuation, .messageInterrupted,
            .closeBodyTooShort, .invalidCloseCode, .invalidCloseReason, .invalidText, .invalidCompressedData:
            return nil
        }
    }

    /// The actions that can follow.
    var actions: [LimitAction] {
        switch self {
        case .clientEventRate, .maxConnections, .handshakeQueue, .handshakeTimeout, .breaker, .autoBan, .banTable,
            .apiRefusals:
            [.refused]
        case .sessionBuffer: [.refused, .closed]
        case .maxTotalPendingBytes: [.throttled, .refused, .closed]
        case .maxDetached, .messageAssemblyTimeout, .clientIdleTimeout, .maxConnectionAge, .tokenExpiry, .messageTooBig,
            .tooManyFragments, .compressionRatio:
            [.closed]
        case .ban: [.refused, .closed]
        case .allowedOrigins, .maxConnectionsPerIP, .maxConnectionsPerUser, .connectRatePerIP: [.refused, .dryRun]
        case .controlRate: [.throttled, .dryRun]
        case .messageRate, .messageRatePerIP, .messageRatePerUser, .byteRate: [.throttled, .closed, .dryRun]
        }
    }
}
