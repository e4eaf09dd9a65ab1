internal import NIOCore

/// The variables that say who may connect and how much a client may do.
extension SettingsRegistry {
    static let admission = [
        SettingDefinition(
            "ALLOWED_ORIGINS",
            .admission,
            \.allowedOrigins,
            .origins,
            "The pages that may open a WebSocket, by their Origin; others get 403, and the app is not asked."
        ),
        SettingDefinition(
            "ALLOW_MISSING_ORIGIN",
            .admission,
            \.allowMissingOrigin,
            .boolean,
            "Whether to accept handshakes without Origin; clients other than browsers send none."
        ),
        SettingDefinition(
            "TRUSTED_PROXIES",
            .admission,
            \.trustedProxies,
            .proxies,
            "The proxies in front; only they may name the client's address."
        ),
        SettingDefinition(
            "CLIENT_IP_HEADER",
            .admission,
            \.clientIPHeader,
            .choice,
            "The header in which trusted proxies give the client's address."
        ),
        SettingDefinition(
            "PROXY_PROTOCOL",
            .admission,
            \.proxyProtocol,
            .proxyProtocol,
            "The PROXY protocol header that every connection must begin with; only trusted proxies may send it."
        ),
    ]

    static let limits = connectionLimits + rateLimits + messageLimits

    private static let connectionLimits = [
        SettingDefinition(
            "MAX_CONNECTIONS",
            .limits,
            \.maxConnections,
            .count(1...10_000_000, off: true),
            unset: "from the limit on open files",
            "Client connections at once, WebSockets and plain HTTP together."
        ),
        SettingDefinition(
            "MAX_CONNECTIONS_PER_IP",
            .limits,
            \.maxConnectionsPerIP,
            .count(1...10_000_000, off: true),
            "WebSockets of one address at once; further handshakes get 429. Connections of any kind: twice as many."
        ),
        SettingDefinition(
            "MAX_CONNECTIONS_PER_USER",
            .limits,
            \.maxConnectionsPerUser,
            .count(1...10_000_000, off: true),
            "WebSockets of one user at once; applies once the app has named the user."
        ),
        SettingDefinition(
            "RATE_LIMIT_IPV6_PREFIX",
            .limits,
            \.rateLimitIPv6Prefix,
            .count(1...128),
            "How many bits of an IPv6 address count: all limits per address treat such a network as one address."
        ),
        SettingDefinition(
            "HANDSHAKE_TIMEOUT",
            .limits,
            \.handshakeTimeout,
            .duration(.milliseconds(10) ... .hours(1), off: true),
            "The time from accepting a connection to receiving its complete request head."
        ),
        SettingDefinition(
            "MAX_HEADER_BYTES",
            .limits,
            \.maxHeaderBytes,
            .size(256...16 << 20),
            "The maximum size of a request head: request line and headers."
        ),
        SettingDefinition(
            "MAX_HEADERS",
            .limits,
            \.maxHeaders,
            .count(1...10_000),
            "The maximum number of headers of a request."
        ),
    ]

    private static let rateLimits = [
        SettingDefinition(
            "CONNECT_RATE_PER_IP",
            .limits,
            \.connectRatePerIP,
            .rate(.events),
            "Handshakes of one address, refused ones included; further ones get 429."
        ),
        SettingDefinition(
            "MESSAGE_RATE",
            .limits,
            \.messageRate,
            .rate(.events),
            "Data messages of one connection."
        ),
        SettingDefinition(
            "MESSAGE_RATE_PER_IP",
            .limits,
            \.messageRatePerIP,
            .rate(.events),
            "Data messages of all connections of one address."
        ),
        SettingDefinition(
            "MESSAGE_RATE_PER_USER",
            .limits,
            \.messageRatePerUser,
            .rate(.events),
            "Data messages of all connections of one user; applies once the app has named the user."
        ),
        SettingDefinition(
            "BYTE_RATE",
            .limits,
            \.byteRate,
            .rate(.bytes),
            "Payload bytes of one connection."
        ),
        SettingDefinition(
            "CONTROL_RATE",
            .limits,
            \.controlRate,
            .rate(.events),
            "Pings and pongs of one connection, except pongs to Sidesocket's own pings; above it, reading pauses."
        ),
        SettingDefinition(
            "RATE_LIMIT_ACTION",
            .limits,
            \.rateLimitAction,
            .choice,
            "Above a message or byte rate: throttle pauses reading and loses nothing, close closes with 4429."
        ),
    ]

    private static let messageLimits = [
        SettingDefinition(
            "MAX_MESSAGE_BYTES",
            .limits,
            \.maxMessageBytes,
            .size(1...1 << 30),
            "The maximum size of a message from a client, after decompression; a larger one closes the connection with 1009."
        ),
        SettingDefinition(
            "MAX_FRAGMENTS",
            .limits,
            \.maxFragments,
            .count(1...1_000_000, off: true),
            "The maximum number of frames of a message, empty ones included."
        ),
        SettingDefinition(
            "MESSAGE_ASSEMBLY_TIMEOUT",
            .limits,
            \.messageAssemblyTimeout,
            .duration(.milliseconds(10) ... .hours(24), off: true),
            "The time from a message's first frame to its last."
        ),
        SettingDefinition(
            "COMPRESSION",
            .limits,
            \.compression,
            .onOff,
            "Whether to accept permessage-deflate when a client offers it."
        ),
        SettingDefinition(
            "COMPRESSION_MIN_BYTES",
            .limits,
            \.compressionMinBytes,
            .size(0...1 << 20),
            "Shorter messages are sent uncompressed; 0 compresses every message, even if that makes it longer."
        ),
        SettingDefinition(
            "COMPRESSION_CONTEXT_TAKEOVER",
            .limits,
            \.compressionContextTakeover,
            .onOff,
            "Whether the compression context is kept between messages: fewer bytes, but memory per connection."
        ),
        SettingDefinition(
            "MAX_COMPRESSION_RATIO",
            .limits,
            \.maxCompressionRatio,
            .optionalCount(1...10_000),
            "How many times its compressed size a message may grow to, its first 256 KiB not counted; a larger one "
                + "closes the connection with 1009."
        ),
        SettingDefinition(
            "MAX_SEND_BUFFER_BYTES",
            .limits,
            \.maxSendBufferBytes,
            .size(1 << 10...1 << 30),
            "Bytes queued for one slow client before SLOW_CLIENT_ACTION is taken."
        ),
        SettingDefinition(
            "MAX_TOTAL_SEND_BUFFER_BYTES",
            .limits,
            \.maxTotalSendBufferBytes,
            .size(1 << 10...1 << 40, off: true),
            "The same for all clients together; beyond it, those with the most queued are treated as slow first."
        ),
        SettingDefinition(
            "SLOW_CLIENT_ACTION",
            .limits,
            \.slowClientAction,
            .choice(of: SlowClientAction.forAllMessages),
            "What to do with a slow client: close closes with 1008, drop-oldest and drop-newest drop whole messages."
        ),
        SettingDefinition(
            "DRY_RUN",
            .limits,
            \.dryRun,
            .limitNames,
            "The limits that are counted but not enforced."
        ),
    ]
}
