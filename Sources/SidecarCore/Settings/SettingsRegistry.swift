internal import NIOCore

/// All variables there are; whatever is not in it is unknown.
///
/// Environment, file keys, flags, help, the output of `check` and the test of the documentation all follow from this
/// table, so a variable is added here, with its property in ``Settings``, and in `docs/configuration.md`.
public struct SettingsRegistry: Sendable {
    /// What the name of every environment variable begins with.
    public static let prefix = "SIDESOCKET_"

    /// The variables in the order in which they are shown.
    public let definitions: [SettingDefinition]
    private let indexByName: [String: Int]

    /// A registry of `definitions`; of two with one name, the first counts.
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

    /// Whether `name` can be given a value: a variable, or a secret's `NAME_FILE`.
    func accepts(_ name: String) -> Bool {
        self[name] != nil || secret(readFrom: name) != nil
    }

    /// The secret that the file named by `X_FILE` holds, if `name` is such a name.
    func secret(readFrom name: String) -> SettingDefinition? {
        guard name.hasSuffix("_FILE"), let definition = self[String(name.dropLast(5))], definition.isSecret else {
            return nil
        }
        return definition
    }

    /// The known name that is most like `name`, if one is near enough for a slip of the finger.
    func nearest(to name: String) -> String? {
        guard name.utf8.count <= 64 else { return nil }
        let secretFiles = definitions.filter(\.isSecret).map { $0.name + "_FILE" }
        let distances = (definitions.map(\.name) + secretFiles).map { (name: $0, edits: editDistance(name, $0)) }
        guard let best = distances.min(by: { $0.edits < $1.edits }) else { return nil }
        return best.edits <= max(1, min(name.utf8.count, best.name.utf8.count) / 3) ? best.name : nil
    }

    static let defaults = Settings(app: .tcp(host: "localhost", port: 80, tls: false))

    /// The variables of this version.
    public static let standard = SettingsRegistry(general + identity + admission + limits + life + webhook + channels)

    private static let general = [
        SettingDefinition(
            "CONFIG",
            .addresses,
            \.configFile,
            .filePath,
            unset: "none",
            "A JSON or YAML file with any of these settings; the environment and flags win over it."
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
            "The addresses for metrics and health checks; keep them off the public network."
        ),
        SettingDefinition(
            "CONTROL_TOKEN",
            .addresses,
            \.controlToken,
            .bearerToken,
            unset: "none: the API answers on loopback listeners only",
            isSecret: true,
            "The bearer token that the API under /v1/ asks for."
        ),
        SettingDefinition(
            "APP_URL",
            .addresses,
            \.apps,
            .appURLs,
            isRequired: true,
            "Where the app answers HTTP; of several addresses the one with the fewest calls under way is called."
        ),
        SettingDefinition(
            "APP_HEALTH_PATH",
            .addresses,
            \.appHealthPath,
            .requestPath,
            unset: "none",
            "A path on each address of the app that is asked regularly; addresses that fail it are left out."
        ),
        SettingDefinition(
            "APP_HEALTH_INTERVAL",
            .addresses,
            \.appHealthInterval,
            .duration(.milliseconds(100) ... .hours(1)),
            "The time between two such questions; two that fail put the address out, one that passes back in."
        ),
        SettingDefinition(
            "READY_NEEDS_APP",
            .addresses,
            \.readyNeedsApp,
            .boolean,
            "Whether /readyz answers 503 until an address of the app passes its health check, and while none does."
        ),
        SettingDefinition(
            "APP_CA_FILE",
            .addresses,
            \.appCAFile,
            .filePath,
            unset: "the system's authorities",
            "A PEM file with the authorities to trust when the app is called over https."
        ),
        SettingDefinition(
            "WS_PATHS",
            .addresses,
            \.wsPaths,
            .pathPatterns,
            "The paths where WebSockets may be opened; a WebSocket handshake anywhere else is answered 404."
        ),
        SettingDefinition(
            "WEBHOOK_URL",
            .addresses,
            \.webhookTarget,
            .webhookURL,
            unset: "the client's own path and query on the app",
            "One place for all events; the client's path and query are then in ce-subject."
        ),
        SettingDefinition(
            "PRESERVE_HOST",
            .addresses,
            \.preserveHost,
            .boolean,
            "Whether the app is sent the client's Host header, or the host of APP_URL."
        ),
        SettingDefinition(
            "FORWARD_HEADERS",
            .addresses,
            \.forwardHeaders,
            .forwardableHeaders,
            "The handshake headers that are repeated on every event after open."
        ),

        SettingDefinition(
            "THREADS",
            .process,
            \.threads,
            .count(1...1024),
            unset: "the number of cores",
            "Threads that serve connections."
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
            "The least severe messages that are logged; single messages of clients only at debug."
        ),
        SettingDefinition(
            "LOG_FORMAT",
            .process,
            \.logFormat,
            .choice,
            "One JSON object a line, or a line of text for people."
        ),
    ]

    private static let webhook = [
        SettingDefinition(
            "PROXY_TIMEOUT",
            .webhook,
            \.proxyTimeout,
            .duration(.milliseconds(10) ... .hours(24), off: true),
            "The time that the app may be silent before its answer to a passed-through request begins."
        ),
        SettingDefinition(
            "WEBHOOK_TIMEOUT",
            .webhook,
            \.webhookTimeout,
            .duration(.milliseconds(10) ... .hours(1)),
            "The time that the app has to answer one event."
        ),
        SettingDefinition(
            "WEBHOOK_RETRY_FOR",
            .webhook,
            \.webhookRetryFor,
            .durationOrZero(.milliseconds(10) ... .hours(24)),
            "How long a message or close event is tried again while the app is away or busy; off for one attempt."
        ),
        SettingDefinition(
            "WEBHOOK_MAX_IN_FLIGHT",
            .webhook,
            \.webhookMaxInFlight,
            .count(1...65_536),
            "Events that the app is asked to answer at once, all threads together; shared fairly by connections."
        ),
        SettingDefinition(
            "WEBHOOK_BATCH",
            .webhook,
            \.webhookBatch,
            .optionalCount(2...1024),
            "Messages of one connection that wait are sent in one request, at most so many; off for one by one."
        ),
        SettingDefinition(
            "WEBHOOK_FAILURE",
            .webhook,
            \.webhookFailure,
            .choice,
            "When the app fails to answer a message: close the connection, or keep it and drop the message."
        ),
        SettingDefinition(
            "OUTBOX_DIR",
            .webhook,
            \.outboxDirectory,
            .filePath,
            unset: "none",
            "A folder where messages and close events that the app has not answered survive a crash of Sidesocket."
        ),
        SettingDefinition(
            "MAX_PENDING_BYTES",
            .webhook,
            \.maxPendingBytes,
            .size(1...1 << 30),
            "Bytes received from one client that the app has not answered yet; above it, no more is read from the client."
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
            "The size of the body of the app's reply to one event."
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
