public import NIOCore

/// Everything a person can set, checked and ready to use.
///
/// The initial values of the stored properties are the defaults; help, documentation checks and the effective table
/// all derive their default texts from them through ``SettingsRegistry``.
public struct Settings: Sendable, Equatable {
    /// The file that settings were read from (`CONFIG`), if any.
    public var configFile: String?

    /// The public addresses (`LISTEN`).
    public var listen: [ListenAddress] = [.tcp(host: "0.0.0.0", port: 8080)]
    /// The addresses for metrics and health (`CONTROL_LISTEN`).
    public var controlListen: [ListenAddress] = [.tcp(host: "127.0.0.1", port: 9090)]
    /// The addresses of the app behind Sidesocket (`APP_URL`), at least one.
    public var apps: [AppOrigin]
    /// A PEM file with the authorities that may sign the app's certificate (`APP_CA_FILE`); nil: the system's.
    public var appCAFile: String?
    /// The token that the API asks for (`CONTROL_TOKEN`); nil: the API answers on loopback listeners only.
    public var controlToken: String?
    /// The paths whose upgrade requests become sessions (`WS_PATHS`).
    public var wsPaths: [PathPattern] = [.everything]
    /// Where all events go (`WEBHOOK_URL`); nil: the client's own path and query on the app.
    public var webhookTarget: WebhookTarget?
    /// Whether the app sees the client's Host header (`PRESERVE_HOST`).
    public var preserveHost = true
    /// Handshake headers repeated on every event after `open` (`FORWARD_HEADERS`), in lower case.
    public var forwardHeaders = ["cookie", "authorization"]

    /// Event loops (`THREADS`); nil: as many as the machine has cores.
    public var threads: Int?
    /// This process's name in `ce-source` and logs (`NODE_NAME`); nil: the host name.
    public var nodeName: String?
    /// The least severe messages that are logged (`LOG_LEVEL`).
    public var logLevel = LogLevel.info
    /// How log lines are written (`LOG_FORMAT`).
    public var logFormat = LogFormat.json
    /// Whether requests that are passed through are logged (`ACCESS_LOG`).
    public var accessLog = false

    /// The certificate chain of the public addresses (`TLS_CERT`); nil: plain HTTP.
    public var tlsCertificate: String?
    /// The private key to it (`TLS_KEY`).
    public var tlsKey: String?
    /// The authorities of the certificates that clients have to show (`TLS_CLIENT_CA`); nil: none are asked for.
    public var tlsClientCA: String?
    /// The certificate chain of the control addresses (`CONTROL_TLS_CERT`); nil: plain HTTP.
    public var controlTLSCertificate: String?
    /// The private key to it (`CONTROL_TLS_KEY`).
    public var controlTLSKey: String?
    /// What events are signed with (`WEBHOOK_SECRET`).
    public var webhookSecrets: WebhookSecrets?
    /// Whether a client needs a token (`AUTH`).
    public var auth = AuthMode.off
    /// The key of tokens (`JWT_KEY`): a PEM public key or a shared secret.
    public var jwtKey: String?
    /// The `kid` of that key (`JWT_KEY_ID`).
    public var jwtKeyID: String?
    /// Where the issuer's keys are (`JWT_JWKS_URL`).
    public var jwtKeySetURL: WebhookTarget?
    /// How tokens may be signed (`JWT_ALGORITHMS`).
    public var jwtAlgorithms: [TokenAlgorithm]?
    /// Who may issue tokens (`JWT_ISSUER`); nil: anybody who has the key.
    public var jwtIssuers: [String]?
    /// Whom tokens may be meant for (`JWT_AUDIENCE`); nil: anybody.
    public var jwtAudiences: [String]?
    /// The claim that names the user (`JWT_USER_CLAIM`).
    public var jwtUserClaim = "sub"
    /// How far clocks may differ (`JWT_LEEWAY`).
    public var jwtLeeway = TimeAmount.seconds(30)
    /// Where tokens are looked for, in this order (`JWT_SOURCES`).
    public var jwtSources = [TokenSource.subprotocol, .authorization]
    /// The time for a token in the first message (`AUTH_TIMEOUT`).
    public var authTimeout = TimeAmount.seconds(10)
    /// Claims that the app is told (`JWT_FORWARD_CLAIMS`).
    public var jwtForwardClaims: [String]?
    /// How often the app is asked about a client (`REVALIDATE_INTERVAL`); ``never`` when off.
    public var revalidateInterval = never
    /// When addresses are banned by themselves (`AUTO_BAN`); nil when off.
    public var autoBan: AutoBan?
    /// Where changes are recorded (`AUDIT_LOG`): `stderr` or a file.
    public var auditLog = "stderr"

    /// Whether the client protocol is chosen where a client offers it (`PROTOCOL`).
    public var clientProtocol = true
    /// How long a session waits for its client (`RESUME_WINDOW`); ``never`` when off.
    public var resumeWindow = TimeAmount.minutes(2)
    /// The cookies that must be the same at a resume (`RESUME_COOKIES`); nil: none.
    public var resumeCookies: [String]?
    /// Where the client for browsers is served (`CLIENT_SCRIPT`); nil: nowhere.
    public var clientScriptPath: String?
    /// The paths of the client protocol over HTTP (`HTTP_PATHS`); nil: none.
    public var httpPaths: [PathPattern]?
    /// How long a poll waits for something to say (`POLL_TIMEOUT`).
    public var pollTimeout = TimeAmount.seconds(25)
    /// Whether the app is told when clients lose and resume their sessions (`SESSION_EVENTS`).
    public var sessionEvents = false
    /// What a client may send to others (`CLIENT_EVENT_RATE`); nil when off.
    public var clientEventRate: Rate? = Rate(10, per: .seconds(1), burst: 20)
    /// The sessions that wait for their clients, in all (`MAX_DETACHED`); nil: as many as connections.
    public var maxDetached: Int?
    /// The paths of event streams (`SSE_PATHS`); nil: none.
    public var ssePaths: [PathPattern]?
    /// Channels of one connection (`MAX_CHANNELS_PER_CONNECTION`).
    public var maxChannelsPerConnection = 100
    /// How channels are treated, the first pattern that matches (`CHANNEL_POLICIES`).
    public var channelPolicies: [ChannelPolicy]?
    /// Messages that a channel keeps (`HISTORY_SIZE`); 0: none.
    public var historySize = 0
    /// How long it keeps them (`HISTORY_TTL`).
    public var historyTTL = TimeAmount.minutes(5)
    /// What all channels may keep (`MAX_HISTORY_BYTES`), in bytes.
    public var maxHistoryBytes = 64 << 20
    /// Whether the app is told when channels get their first or lose their last subscriber (`CHANNEL_EVENTS`).
    public var channelEvents = false
    /// Whether replies that are passed through may publish (`BROADCAST_HEADER`).
    public var broadcastHeader = true
    /// Publications through the API (`PUBLISH_RATE`); nil when off.
    public var publishRate: Rate?
    /// The streams that publications are read from (`INGEST_URL`); nil: none.
    public var ingestURLs: [IngestURL]?

    /// The engine through which several nodes act as one (`CLUSTER_URL`); nil: this node is alone.
    public var clusterURL: EngineURL?
    /// What begins every key in the engine (`CLUSTER_PREFIX`).
    public var clusterPrefix = "sidesocket"
    /// What nodes authenticate and encrypt with among each other (`CLUSTER_SECRET`); nil: nothing.
    public var clusterSecrets: ClusterSecrets?
    /// The longest wait for the engine or another node (`CLUSTER_TIMEOUT`).
    public var clusterTimeout = TimeAmount.seconds(1)
    /// How long a node may be silent before it is taken for lost (`CLUSTER_LEASE`).
    public var clusterLease = TimeAmount.seconds(10)
    /// Replicas of the engine that must have a publication (`CLUSTER_MIN_REPLICAS`).
    public var clusterMinReplicas = 0
    /// Whether `/readyz` is 503 while the engine is away (`READY_NEEDS_CLUSTER`).
    public var readyNeedsCluster = false

    /// What may be set for the length of a history.
    static let historySizes = 0...1_000_000
    /// What may be set for the time that a history is kept.
    static let historyTTLs = TimeAmount.seconds(1)...TimeAmount.hours(30 * 24)

    /// The load balancers and proxies in front, from the client inwards (`LB`).
    public var loadBalancers: [LoadBalancerPreset] = []
    /// The shortest idle timeout on the way (`LB_IDLE_TIMEOUT`); nil: from ``loadBalancers``.
    public var lbIdleTimeout: TimeAmount?
    /// How long either direction may be idle before a ping is due (`PING_INTERVAL`); nil: from the idle timeout;
    /// ``never`` when off.
    public var pingInterval: TimeAmount?
    /// How long to wait for an answer to a ping (`PONG_TIMEOUT`).
    public var pongTimeout = TimeAmount.seconds(20)
    /// Time without a data message of the client (`CLIENT_IDLE_TIMEOUT`); ``never`` when off.
    public var clientIdleTimeout = never
    /// Age at which a socket is closed (`MAX_CONNECTION_AGE`); nil: from ``loadBalancers``; ``never`` when off.
    public var maxConnectionAge: TimeAmount?
    /// How long a drain may take after SIGTERM (`DRAIN_TIMEOUT`).
    public var drainTimeout = TimeAmount.seconds(30)

    /// The pages that may open a socket (`ALLOWED_ORIGINS`).
    public var allowedOrigins = AllowedOrigins.sameHost
    /// Whether a handshake without Origin, which comes from no browser, may pass (`ALLOW_MISSING_ORIGIN`).
    public var allowMissingOrigin = true
    /// The peers that may say who the client is (`TRUSTED_PROXIES`).
    public var trustedProxies = TrustedProxies.none
    /// The header in which they say it (`CLIENT_IP_HEADER`).
    public var clientIPHeader = ClientIPHeader.xForwardedFor
    /// The PROXY headers that connections must begin with (`PROXY_PROTOCOL`); nil when off.
    public var proxyProtocol: ProxyProtocolMode?

    /// Client connections at once (`MAX_CONNECTIONS`); nil: from the limit on open files; ``unlimited`` when off.
    public var maxConnections: Int?
    /// WebSockets of one address at once, and half of its connections (`MAX_CONNECTIONS_PER_IP`); ``unlimited`` when
    /// off.
    public var maxConnectionsPerIP = 100
    /// WebSockets of one user at once (`MAX_CONNECTIONS_PER_USER`); ``unlimited`` when off.
    public var maxConnectionsPerUser = unlimited
    /// The bits of an IPv6 address that limits per address count by (`RATE_LIMIT_IPV6_PREFIX`).
    public var rateLimitIPv6Prefix = 64
    /// Handshakes of one address, refused ones included (`CONNECT_RATE_PER_IP`); nil when off.
    public var connectRatePerIP: Rate? = Rate(20, per: .seconds(1), burst: 40)
    /// Data messages of one connection (`MESSAGE_RATE`); nil when off.
    public var messageRate: Rate? = Rate(50, per: .seconds(1), burst: 100)
    /// Data messages of all connections of one address (`MESSAGE_RATE_PER_IP`); nil when off.
    public var messageRatePerIP: Rate?
    /// Data messages of all connections of one user (`MESSAGE_RATE_PER_USER`); nil when off.
    public var messageRatePerUser: Rate?
    /// Payload bytes of one connection (`BYTE_RATE`); nil when off.
    public var byteRate: Rate?
    /// Pings and pongs of one connection (`CONTROL_RATE`); nil when off.
    public var controlRate: Rate? = Rate(50, per: .seconds(1), burst: 200)
    /// What is done with a connection above a rate of messages or bytes (`RATE_LIMIT_ACTION`).
    public var rateLimitAction = RateLimitAction.throttle

    /// Bytes of one whole message, after inflation (`MAX_MESSAGE_BYTES`).
    public var maxMessageBytes = 64 << 10
    /// Frames of one message, empty ones too (`MAX_FRAGMENTS`); ``unlimited`` when off.
    public var maxFragments = 128
    /// Time from a message's first frame to its last (`MESSAGE_ASSEMBLY_TIMEOUT`); ``never`` when off.
    public var messageAssemblyTimeout = TimeAmount.seconds(30)
    /// Whether permessage-deflate is agreed to (`COMPRESSION`).
    public var compression = true
    /// The shortest message that is compressed (`COMPRESSION_MIN_BYTES`), in bytes; 0: each one, even if it gets
    /// longer.
    public var compressionMinBytes = 256
    /// Whether compressed messages may refer to earlier ones (`COMPRESSION_CONTEXT_TAKEOVER`).
    public var compressionContextTakeover = false
    /// The largest ratio of a message's size after inflation to its size before (`MAX_COMPRESSION_RATIO`); nil when
    /// off.
    public var maxCompressionRatio: Int? = 100
    /// Unsent bytes per connection (`MAX_SEND_BUFFER_BYTES`).
    public var maxSendBufferBytes = 256 << 10
    /// The same over the whole process (`MAX_TOTAL_SEND_BUFFER_BYTES`); ``unlimited`` when off.
    public var maxTotalSendBufferBytes = 256 << 20
    /// What is done with a client for which more than that waits (`SLOW_CLIENT_ACTION`).
    public var slowClientAction = SlowClientAction.close
    /// Time from accept to a complete request head (`HANDSHAKE_TIMEOUT`); ``never`` when off.
    public var handshakeTimeout = TimeAmount.seconds(10)
    /// Bytes of a client's request head (`MAX_HEADER_BYTES`).
    public var maxHeaderBytes = 32 << 10
    /// Header fields of a client's request head (`MAX_HEADERS`).
    public var maxHeaders = 100
    /// The limits that only count what they would have refused (`DRY_RUN`).
    public var dryRun: Set<DryRunLimit> = []

    /// How long the app may take to begin its reply to a passed-through request (`PROXY_TIMEOUT`);
    /// ``never`` when off.
    public var proxyTimeout = TimeAmount.seconds(60)

    /// Time for one call to the app (`WEBHOOK_TIMEOUT`).
    public var webhookTimeout = TimeAmount.seconds(10)
    /// Calls to the app at once in this process (`WEBHOOK_MAX_IN_FLIGHT`).
    public var webhookMaxInFlight = 64
    /// How long an event is tried again (`WEBHOOK_RETRY_FOR`); zero when off.
    public var webhookRetryFor = TimeAmount.seconds(30)
    /// Where undelivered events are kept through a crash (`OUTBOX_DIR`); nil for nowhere.
    public var outboxDirectory: String?
    /// The path of the app's own health check (`APP_HEALTH_PATH`); nil for none.
    public var appHealthPath: String?
    /// Whether `/readyz` is 503 while no address of the app passes it (`READY_NEEDS_APP`).
    public var readyNeedsApp = false
    /// The time between two health checks (`APP_HEALTH_INTERVAL`).
    public var appHealthInterval = TimeAmount.seconds(5)
    /// Messages in one request at most (`WEBHOOK_BATCH`); nil when each has its own.
    public var webhookBatch: Int?
    /// What the final failure of a message event does (`WEBHOOK_FAILURE`).
    public var webhookFailure = WebhookFailurePolicy.close
    /// Bytes received and not yet answered by the app, per connection (`MAX_PENDING_BYTES`).
    public var maxPendingBytes = 256 << 10
    /// The same over the whole process (`MAX_TOTAL_PENDING_BYTES`).
    public var maxTotalPendingBytes = 256 << 20
    /// Bytes of one reply's body (`MAX_REPLY_BYTES`).
    public var maxReplyBytes = 1 << 20

    /// Settings for `app` with every default.
    public init(app: AppOrigin) {
        apps = [app]
    }

    /// True when events or requests go to the app over TLS.
    public var callsOverTLS: Bool {
        apps.contains(where: \.usesTLS) || webhookTarget?.origin?.usesTLS == true
            || jwtKeySetURL?.origin?.usesTLS == true
    }

    /// Where events go: the app's own addresses, unless `WEBHOOK_URL` names another.
    public var webhookOrigins: [AppOrigin] { webhookTarget?.origin.map { [$0] } ?? apps }

    /// True when events go to the app itself.
    public var webhookIsOnApp: Bool {
        guard let origin = webhookTarget?.origin else { return true }
        return apps.contains { origin.isSameEndpoint(as: $0) }
    }

    /// The value of a time limit that is `off`: a hundred years, so that code needs no special case for it and
    /// adding it to a deadline cannot overflow.
    public static let never = TimeAmount.hours(100 * 365 * 24)

    /// The value of a count whose limit is `off`.
    public static let unlimited = Int.max
}

/// How severe a message must be to be logged; the names are swift-log's.
public enum LogLevel: String, Sendable, Equatable, CaseIterable {
    case trace, debug, info, notice, warning, error, critical
}

/// How log lines are written.
public enum LogFormat: String, Sendable, Equatable, CaseIterable {
    /// One JSON object a line.
    case json
    /// A line for people.
    case text
}

/// What happens to the connection when a message event finally fails.
public enum WebhookFailurePolicy: String, Sendable, Equatable, CaseIterable {
    /// The connection is closed.
    case close
    /// The message is dropped and counted; the connection goes on.
    case keep
}
