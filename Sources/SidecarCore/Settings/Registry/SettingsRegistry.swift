internal import NIOCore

/// All variables; a name that is not in it is unknown.
///
/// Environment, file keys, flags, help, the output of `check` and the test of the documentation all follow from this
/// table, so a variable is added here, with its property in ``Settings``, and in `docs/configuration.md`.
public struct SettingsRegistry: Sendable {
    /// What the name of every environment variable begins with.
    public static let prefix = "SIDESOCKET_"

    /// The variables in the order in which they are shown.
    public let definitions: [SettingDefinition]
    private let indexByName: [String: Int]

    /// A registry of `definitions`; if two have the same name, the first one counts.
    init(_ definitions: [SettingDefinition]) {
        self.definitions = definitions
        self.indexByName = Dictionary(
            definitions.enumerated().map { ($0.element.name, $0.offset) },
            uniquingKeysWith: { first, _ in first }
        )
    }

    /// The variable called `name`, without prefix.
    public subscript(name: String) -> SettingDefinition? {
        indexByName[name].map { definitions[$0] }
    }

    /// Whether `name` can be set: a variable, or a secret's `NAME_FILE`.
    func accepts(_ name: String) -> Bool {
        self[name] != nil || secret(readFrom: name) != nil
    }

    /// The secret whose file `name` gives, if `name` is of the form `X_FILE`.
    func secret(readFrom name: String) -> SettingDefinition? {
        guard name.hasSuffix("_FILE"), let definition = self[String(name.dropLast(5))], definition.isSecret else {
            return nil
        }
        return definition
    }

    /// The known name that is most similar to `name`, if it is close enough to be a typing mistake.
    func nearest(to name: String) -> String? {
        guard name.utf8.count <= 64 else { return nil }
        let secretFiles = definitions.filter(\.isSecret).map { $0.name + "_FILE" }
        let distances = (definitions.map(\.name) + secretFiles).map { (name: $0, edits: editDistance(name, $0)) }
        guard let best = distances.min(by: { $0.edits < $1.edits }) else { return nil }
        return best.edits <= max(1, min(name.utf8.count, best.name.utf8.count) / 3) ? best.name : nil
    }

    static let defaults = Settings(app: .tcp(host: "localhost", port: 80, tls: false))

    /// The variables of this version.
    public static let standard = SettingsRegistry(
        general + identity + admission + limits + life + webhook + channels + ingest + clientProtocol + cluster
    )

    private static let general = [
        SettingDefinition(
            "CONFIG",
            .addresses,
            \.configFile,
            .filePath,
            unset: "none",
            "A JSON or YAML file with any of these settings; the environment and flags take precedence."
        ),
        SettingDefinition(
            "LISTEN",
            .addresses,
            \.listen,
            .listenAddresses,
            "The public addresses that clients connect to."
        ),
        SettingDefinition(
            "CONTROL_LISTEN",
            .addresses,
            \.controlListen,
            .listenAddresses,
            "The addresses for metrics, health checks and the API; keep them off the public network."
        ),
        SettingDefinition(
            "CONTROL_TOKEN",
            .addresses,
            \.controlToken,
            .bearerToken,
            unset: "none (the API answers on loopback listeners only)",
            isSecret: true,
            "The bearer token for the API under /v1/."
        ),
        SettingDefinition(
            "APP_URL",
            .addresses,
            \.apps,
            .appURLs,
            isRequired: true,
            "The address of the app; of several, the one with the fewest calls in flight is called."
        ),
        SettingDefinition(
            "APP_HEALTH_PATH",
            .addresses,
            \.appHealthPath,
            .requestPath,
            unset: "none",
            "A health check path on each address of the app; addresses that fail it are left out."
        ),
        SettingDefinition(
            "APP_HEALTH_INTERVAL",
            .addresses,
            \.appHealthInterval,
            .duration(.milliseconds(100) ... .hours(1)),
            "The time between two health checks; two failures take an address out, one success puts it back."
        ),
        SettingDefinition(
            "READY_NEEDS_APP",
            .addresses,
            \.readyNeedsApp,
            .boolean,
            "Whether /readyz responds with 503 while no address of the app passes its health check."
        ),
        SettingDefinition(
            "APP_CA_FILE",
            .addresses,
            \.appCAFile,
            .filePath,
            unset: "the system's authorities",
            "A PEM file with the certificate authorities to trust when the app is called over https."
        ),
        SettingDefinition(
            "WS_PATHS",
            .addresses,
            \.wsPaths,
            .pathPatterns,
            "The paths where WebSockets may be opened; a WebSocket handshake anywhere else gets 404."
        ),
        SettingDefinition(
            "WEBHOOK_URL",
            .addresses,
            \.webhookTarget,
            .webhookURL,
            unset: "the client's own path and query on the app",
            "Where all events are sent; the client's path and query are then in ce-subject."
        ),
        SettingDefinition(
            "PRESERVE_HOST",
            .addresses,
            \.preserveHost,
            .boolean,
            "Whether the app gets the client's Host header, or the host of APP_URL."
        ),
        SettingDefinition(
            "FORWARD_HEADERS",
            .addresses,
            \.forwardHeaders,
            .forwardableHeaders,
            "The handshake headers to repeat on every event after open."
        ),

        SettingDefinition(
            "THREADS",
            .process,
            \.threads,
            .count(1...1024),
            unset: "the number of cores",
            "The number of threads that serve connections."
        ),
        SettingDefinition(
            "NODE_NAME",
            .process,
            \.nodeName,
            .nodeName,
            unset: "the host name",
            "This process's name in ce-source and in logs."
        ),
        SettingDefinition(
            "LOG_LEVEL",
            .process,
            \.logLevel,
            .choice,
            "The least severe level to log; individual client messages are logged only at debug and trace."
        ),
        SettingDefinition(
            "LOG_FORMAT",
            .process,
            \.logFormat,
            .choice,
            "One JSON object per line, or plain text."
        ),
        SettingDefinition(
            "ACCESS_LOG",
            .process,
            \.accessLog,
            .onOff,
            "Whether each request that is passed through is logged."
        ),
    ]

    private static let webhook = [
        SettingDefinition(
            "PROXY_TIMEOUT",
            .webhook,
            \.proxyTimeout,
            .duration(.milliseconds(10) ... .hours(24), off: true),
            "How long the app may take to begin its response to a passed-through request."
        ),
        SettingDefinition(
            "WEBHOOK_TIMEOUT",
            .webhook,
            \.webhookTimeout,
            .duration(.milliseconds(10) ... .hours(1)),
            "How long the app may take to reply to an event."
        ),
        SettingDefinition(
            "WEBHOOK_RETRY_FOR",
            .webhook,
            \.webhookRetryFor,
            .durationOrZero(.milliseconds(10) ... .hours(24)),
            "How long a message or close event is retried while the app is unreachable or busy; off for one attempt."
        ),
        SettingDefinition(
            "WEBHOOK_MAX_IN_FLIGHT",
            .webhook,
            \.webhookMaxInFlight,
            .count(1...65_536),
            "Events in flight to the app at once, all threads together; shared fairly by connections."
        ),
        SettingDefinition(
            "WEBHOOK_BATCH",
            .webhook,
            \.webhookBatch,
            .optionalCount(2...1024),
            "How many queued messages of one connection may be sent in one request; off for one each."
        ),
        SettingDefinition(
            "WEBHOOK_FAILURE",
            .webhook,
            \.webhookFailure,
            .choice,
            "When delivery of a message failed: close the connection, or keep it and drop the message."
        ),
        SettingDefinition(
            "OUTBOX_DIR",
            .webhook,
            \.outboxDirectory,
            .directoryPath,
            unset: "none",
            "A directory where messages and close events that the app has not replied to survive a crash."
        ),
        SettingDefinition(
            "MAX_PENDING_BYTES",
            .webhook,
            \.maxPendingBytes,
            .size(1...1 << 30),
            "Bytes received from one client that the app has not replied to yet; above it, reading from it pauses."
        ),
        SettingDefinition(
            "MAX_TOTAL_PENDING_BYTES",
            .webhook,
            \.maxTotalPendingBytes,
            .size(1...1 << 40),
            "The same for all clients together."
        ),
        SettingDefinition(
            "MAX_REPLY_BYTES",
            .webhook,
            \.maxReplyBytes,
            .size(1...1 << 30),
            "The maximum size of the body of the app's reply to an event."
        ),
    ]
}

/// The least number of insertions, deletions, replacements and swaps of neighbours between two short names.
private func editDistance(_ first: String, _ second: String) -> Int {
    let (first, second) = (Array(first.utf8), Array(second.utf8))
    var beforeLast = [Int](repeating: 0, count: second.count + 1)
    var last = Array(0...second.count)
    for i in 0..<first.count {
        var row = [i + 1]
        for j in 0..<second.count {
            var best = min(last[j + 1] + 1, row[j] + 1, last[j] + (first[i] == second[j] ? 0 : 1))
            if i > 0, j > 0, first[i] == second[j - 1], first[i - 1] == second[j] {
                best = min(best, beforeLast[j - 1] + 1)
            }
            row.append(best)
        }
        (beforeLast, last) = (last, row)
    }
    return last[second.count]
}
