/// What clients are refused or limited for, with its wording in the log.
public enum RefusalKind: Int, Sendable, Equatable, CaseIterable {
    case maxConnections
    case maxConnectionsPerIP
    case maxConnectionsPerUser
    case connectRatePerIP
    case allowedOrigins
    case wsPaths
    case token
    case ban
    case proxyProtocol
    case handshakeTimeout
    case headerBytes
    case headerCount
    case handshakeQueue
    case breaker
    case totalPendingBytes
    case messageRate
    case messageRatePerIP
    case messageRatePerUser
    case byteRate
    case controlRate
    case messageBytes
    case fragments
    case compressionRatio
    case assemblyTimeout
    case sendBuffer
    case totalSendBuffer
    case forgedEvent
    case unreadableEvent
    case bodyBudget
    case webhookPath

    /// The kind of a limit on messages.
    public init(_ limit: DryRunLimit) {
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

    /// The name of the setting that controls it, without prefix; nil where there is none.
    public var variable: String? {
        switch self {
        case .maxConnections: "MAX_CONNECTIONS"
        case .maxConnectionsPerIP: "MAX_CONNECTIONS_PER_IP"
        case .maxConnectionsPerUser: "MAX_CONNECTIONS_PER_USER"
        case .connectRatePerIP: "CONNECT_RATE_PER_IP"
        case .allowedOrigins: "ALLOWED_ORIGINS"
        case .wsPaths: "WS_PATHS"
        case .token: "AUTH"
        case .ban: "AUTO_BAN"
        case .proxyProtocol: "PROXY_PROTOCOL"
        case .handshakeTimeout: "HANDSHAKE_TIMEOUT"
        case .headerBytes: "MAX_HEADER_BYTES"
        case .headerCount: "MAX_HEADERS"
        case .handshakeQueue: "WEBHOOK_MAX_IN_FLIGHT"
        case .totalPendingBytes: "MAX_TOTAL_PENDING_BYTES"
        case .messageRate: "MESSAGE_RATE"
        case .messageRatePerIP: "MESSAGE_RATE_PER_IP"
        case .messageRatePerUser: "MESSAGE_RATE_PER_USER"
        case .byteRate: "BYTE_RATE"
        case .controlRate: "CONTROL_RATE"
        case .messageBytes: "MAX_MESSAGE_BYTES"
        case .fragments: "MAX_FRAGMENTS"
        case .compressionRatio: "MAX_COMPRESSION_RATIO"
        case .assemblyTimeout: "MESSAGE_ASSEMBLY_TIMEOUT"
        case .sendBuffer: "MAX_SEND_BUFFER_BYTES"
        case .totalSendBuffer: "MAX_TOTAL_SEND_BUFFER_BYTES"
        case .breaker, .forgedEvent, .unreadableEvent: nil
        case .bodyBudget: "MAX_TOTAL_PENDING_BYTES"
        case .webhookPath: "WEBHOOK_URL"
        }
    }

    /// What has happened.
    public var event: String {
        switch self {
        case .maxConnections: "connection refused: too many connections"
        case .maxConnectionsPerIP: "connection refused: too many from this address"
        case .maxConnectionsPerUser: "connection refused: too many for this user"
        case .connectRatePerIP: "handshake refused: this address connects too often"
        case .allowedOrigins: "handshake refused: origin not allowed"
        case .wsPaths: "handshake refused: no WebSocket at this path"
        case .token: "handshake refused: no valid token"
        case .ban: "client refused: banned"
        case .proxyProtocol: "connection refused: no valid PROXY header from a trusted proxy"
        case .handshakeTimeout: "request refused: the request head took too long"
        case .headerBytes: "request refused: the request head is too large"
        case .headerCount: "request refused: too many headers"
        case .handshakeQueue: "handshake refused: too many are waiting for the app"
        case .breaker: "handshake refused: the app is failing and its circuit breaker is open"
        case .totalPendingBytes: "client limited: too many bytes are waiting for the app"
        case .messageRate: "client limited: too many messages"
        case .messageRatePerIP: "client limited: too many messages from this address"
        case .messageRatePerUser: "client limited: too many messages from this user"
        case .byteRate: "client limited: too many bytes"
        case .controlRate: "client limited: too many pings or pongs"
        case .messageBytes: "connection closed: message too big"
        case .fragments: "connection closed: too many fragments in a message"
        case .compressionRatio: "connection closed: compression ratio too high"
        case .assemblyTimeout: "connection closed: a message took too long to arrive"
        case .sendBuffer: "client limited: it reads too slowly"
        case .forgedEvent: "request refused: it imitates an event of Sidesocket"
        case .unreadableEvent: "request refused: its JSON event cannot be checked"
        case .bodyBudget: "request refused: too many bodies are being checked"
        case .webhookPath: "request refused: only Sidesocket may call this path"
        case .totalSendBuffer: "client limited: send buffers are full and this client holds the most"
        }
    }

    /// What the operator can change if the client should have been let in.
    public var remedy: String {
        switch self {
        case .maxConnections: "raise it together with the limit on open files, or add an instance"
        case .maxConnectionsPerIP, .connectRatePerIP, .messageRatePerIP:
            "if the address is a proxy's, name it in SIDESOCKET_TRUSTED_PROXIES and let it send X-Forwarded-For; "
                + "else raise the limit"
        case .maxConnectionsPerUser, .messageRate, .messageRatePerUser, .byteRate, .controlRate:
            "raise it, or set it to off"
        case .allowedOrigins: "add the origin if the page is yours"
        case .wsPaths: "add the path if it is your app's"
        case .token: "compare the token with what the SIDESOCKET_JWT_ variables ask for"
        case .ban: "lift the ban with DELETE /v1/bans, or allow more violations"
        case .proxyProtocol:
            "turn it on at the proxy and name the proxy in SIDESOCKET_TRUSTED_PROXIES, or set it to off"
        case .handshakeTimeout: "raise it if the client's network is slow"
        case .headerBytes, .headerCount: "raise it if your pages set that many cookies"
        case .handshakeQueue: "let the app answer open events faster, or raise it if the app can take more at once"
        case .breaker: "find out why the app fails; the lines \"delivery failed\" say how"
        case .totalPendingBytes: "find out why the app is slow, or raise it if there is memory"
        case .messageBytes, .fragments, .compressionRatio, .assemblyTimeout: "raise it if the message was meant"
        case .totalSendBuffer: "raise it if there is memory, or lower SIDESOCKET_MAX_SEND_BUFFER_BYTES"
        case .forgedEvent: "if it is your app's own request, rename its header or the type of its event"
        case .unreadableEvent: "if it is your app's own request, send valid, uncompressed JSON of at most 1 MiB"
        case .bodyBudget: "raise it if there is memory"
        case .webhookPath: "if clients may call this path too, choose another for the events"
        case .sendBuffer: "send less, raise it, or choose another SIDESOCKET_SLOW_CLIENT_ACTION"
        }
    }

    /// The kind of a refused request; nil for one that is logged elsewhere.
    public init?(_ reason: RefusalReason) {
        switch reason {
        case .forgedEvent, .reservedHeader: self = .forgedEvent
        case .malformedEvent, .unreadableEvent, .eventTooLarge: self = .unreadableEvent
        case .bodyBudget: self = .bodyBudget
        case .webhookPath: self = .webhookPath
        case .badRequest, .badHandshake, .path, .method, .origin, .subprotocol, .auth, .ban, .timeout,
            .clientStalled, .connectionLimit, .rateLimited, .proxyProtocol, .draining, .appUnreachable, .appTimeout,
            .appBadReply, .appFailed, .badPost, .postTooLarge, .postOutOfTurn:
            return nil
        }
    }

    /// Whether the client is counted by its address, so that all clients behind an untrusted proxy are counted as one.
    public var countsByAddress: Bool {
        switch self {
        case .maxConnectionsPerIP, .connectRatePerIP, .messageRatePerIP, .ban: true
        default: false
        }
    }
}
