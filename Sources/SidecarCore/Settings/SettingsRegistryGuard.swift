internal import NIOCore

/// The variables that say who may connect and how much a client may do.
extension SettingsRegistry {
    static let admission = [
        SettingDefinition(
            "ALLOWED_ORIGINS",
            .admission,
            \.allowedOrigins,
            .origins,
            "The pages that may open a socket, by their Origin; any other is answered 403 before the app is asked."
        ),
        SettingDefinition(
            "ALLOW_MISSING_ORIGIN",
            .admission,
            \.allowMissingOrigin,
            .boolean,
            "Whether a handshake without Origin may pass; clients that are no browsers send none."
        ),
        SettingDefinition(
            "TRUSTED_PROXIES",
            .admission,
            \.trustedProxies,
            .proxies,
            "The proxies in front, whose word on who the client is counts; nobody else's does."
        ),
        SettingDefinition(
            "CLIENT_IP_HEADER",
            .admission,
            \.clientIPHeader,
            .choice,
            "The header in which they name the client."
        ),
        SettingDefinition(
            "PROXY_PROTOCOL",
            .admission,
            \.proxyProtocol,
            .proxyProtocol,
            "The PROXY header that every connection must begin with, and only trusted proxies may send."
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
            "WebSockets of one address at once; the next handshake is answered 429. Connections of any kind: twice as many."
        ),
        SettingDefinition(
            "MAX_CONNECTIONS_PER_USER",
            .limits,
            \.maxConnectionsPerUser,
            .count(1...10_000_000, off: true),
            "WebSockets of one user at once, from when the app has named the user."
        ),
        SettingDefinition(
            "RATE_LIMIT_IPV6_PREFIX",
            .limits,
            \.rateLimitIPv6Prefix,
            .count(1...128),
            "The bits of an IPv6 address that count: all limits per address see such a network as one address."
        ),
        SettingDefinition(
            "HANDSHAKE_TIMEOUT",
            .limits,
            \.handshakeTimeout,
            .duration(.milliseconds(10) ... .hours(1), off: true),
            "The time from accepting a connection to its complete request head."
        ),
        SettingDefinition(
            "MAX_HEADER_BYTES",
            .limits,
            \.maxHeaderBytes,
            .size(256...16 << 20),
            "The size of a request head: request line and headers."
        ),
        SettingDefinition(
            "MAX_HEADERS",
            .limits,
            \.maxHeaders,
            .count(1...10_000),
            "The number of headers of a request."
        ),
    ]

    private static let rateLimits = [
        SettingDefinition(
            "CONNECT_RATE_PER_IP",
            .limits,
            \.connectRatePerIP,
            .rate(.events),
            "Handshakes of one address, refused ones included; those above it are answered 429."
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
            "Data messages of all connections of one user, from when the app has named the user."
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
            "Pings and pongs of one connection, without the answers to our pings; above it, reading pauses."
        ),
        SettingDefinition(
            "RATE_LIMIT_ACTION",
            .limits,
            \.rateLimitAction,
            .choice,
            "Above a rate of messages or bytes: throttle reads on later and loses nothing, close closes with 4429."
        ),
    ]

    private static let messageLimits = [
        SettingDefinition(
            "MAX_MESSAGE_BYTES",
            .limits,
            \.maxMessageBytes,
            .size(1...1 << 30),
            "The size of one whole message of a client, after inflation; a larger one closes its connection with 1009."
        ),
        SettingDefinition(
            "MAX_FRAGMENTS",
            .limits,
            \.maxFragments,
            .count(1...1_000_000, off: true),
            "The number of frames of one message, empty ones too."
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
            "Whether messages may be compressed (permessage-deflate) when the client offers it."
        ),
        SettingDefinition(
            "COMPRESSION_MIN_BYTES",
            .limits,
            \.compressionMinBytes,
            .size(0...1 << 20),
            "Shorter messages are sent uncompressed; 0 compresses every one, even where that makes it longer."
        ),
        SettingDefinition(
            "COMPRESSION_CONTEXT_TAKEOVER",
            .limits,
            \.compressionContextTakeover,
            .onOff,
            "Whether compressed messages lean on earlier ones: fewer bytes, but memory for every connection."
        ),
        SettingDefinition(
            "MAX_COMPRESSION_RATIO",
            .limits,
            \.maxCompressionRatio,
            .optionalCount(1...10_000),
            "How many times as large as on the wire a message may become, its first 256 KiB not counted; a larger one "
                + "closes with 1009."
        ),
        SettingDefinition(
            "MAX_SEND_BUFFER_BYTES",
            .limits,
            \.maxSendBufferBytes,
            .size(1 << 10...1 << 30),
            "Bytes that wait to be sent to one slow client before the slow-client action is taken."
        ),
        SettingDefinition(
            "MAX_TOTAL_SEND_BUFFER_BYTES",
            .limits,
            \.maxTotalSendBufferBytes,
            .size(1 << 10...1 << 40, off: true),
            "The same for all clients together; beyond it, those with the most are treated as slow first."
        ),
        SettingDefinition(
            "SLOW_CLIENT_ACTION",
            .limits,
            \.slowClientAction,
            .choice,
            "What then happens: close closes with 1008, drop-oldest and drop-newest leave out whole messages."
        ),
        SettingDefinition(
            "DRY_RUN",
            .limits,
            \.dryRun,
            .limitNames,
            "The limits that only count what they would have refused, and let it pass."
        ),
    ]
}
