import ControlPlane
import Logging
import PrometheusMetrics
import SidecarCore
import SidecarServer
import TokenVerifier

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Writes a line to standard error, before there is a logger.
func complain(_ text: String) {
    var line = text.hasSuffix("\n") ? text : text + "\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Opens the files and keys that the settings name, and says what is wrong with any of them.
func openFiles(of settings: Settings) async -> (authenticator: Authenticator?, faults: [String]) {
    let faults = SettingsFiles.faults(of: settings).map(\.description)
    do {
        return (try await Authenticator.make(settings), faults)
    } catch let error as TokenKeyError {
        let fault = "SIDESOCKET_JWT_KEY: cannot be used: \(error.problem). Accepted: \(TokenKeyError.accepted)"
        return (nil, faults + [fault])
    } catch {
        return (nil, faults + ["SIDESOCKET_JWT_KEY: cannot be used: \(error)"])
    }
}

/// Says what of the settings is probably not meant.
func warn(of settings: Settings, _ logger: Logger) {
    for warning in settings.warnings { logger.warning("a setting may be missing", metadata: ["why": "\(warning)"]) }
}

/// Says how sockets are kept alive, and what of it does not fit together.
func logPlan(_ plan: HeartbeatPlan, to logger: Logger) {
    logger.notice("heartbeat", metadata: ["plan": "\(plan.explanation.joined(separator: " "))"])
    for warning in plan.warnings { logger.warning("heartbeat settings conflict", metadata: ["why": "\(warning)"]) }
}

/// Says that tokens in queries end up in logs.
func warnOfTokensInQueries(_ settings: Settings, _ logger: Logger) {
    for case .query(let name) in settings.jwtSources where settings.auth != .off {
        logger.warning(
            "proxies along the way log tokens in the query string",
            metadata: ["SIDESOCKET_JWT_SOURCES": "query:\(name)", "instead": "subprotocol, cookie or message"]
        )
    }
}

/// What the operating system allows.
enum SystemLimits {
    /// Descriptors for listeners, event loops, files, the runtime and connections accepted in one go; with none left,
    /// the process would not survive.
    private static func ownDescriptors(threads: Int) -> Int { 48 + 4 * threads }

    /// So many have to be left for clients and connections to the app.
    static let fewestDescriptors = 16

    /// Raises the limit on open files as far as it goes, and says how many of them clients and connections to the
    /// app may use; below zero when it is not even enough for the process.
    static func availableDescriptors(threads: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 256 }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur) - ownDescriptors(threads: threads)
    }

    /// How many clients may be connected: the rest is for connections to the app.
    static func connectionsThatFit(in descriptors: Int) -> Int {
        descriptors - min(1_000, descriptors / 4)
    }

    /// The name of this machine, or `localhost`.
    static func hostName() -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { name in
            name.initialize(repeating: 0)
            guard let start = name.baseAddress, gethostname(start, name.count - 1) == 0 else { return "localhost" }
            return String(cString: start)
        }
    }
}

extension ControlAddress {
    /// The control listener's own form of an address.
    init(_ address: ListenAddress) {
        switch address {
        case .tcp(let host, let port): self = .tcp(host: host, port: port)
        case .unix(let path): self = .unix(path: path)
        }
    }
}

extension Readiness {
    /// What `/readyz` tells, read off the public side.
    init(_ state: ServerState, needsApp: Bool) {
        self.init(
            listening: state.isListening,
            draining: state.isDraining,
            appReachable: state.appReachable,
            apps: state.appAddresses.map {
                App(address: $0.name, breaker: $0.breaker.word, isDown: $0.isDown, inFlight: $0.inFlight)
            },
            outboxWritable: state.outboxIsWritable,
            connections: state.sockets,
            maxConnections: state.maxConnections,
            inFlight: state.inFlight,
            maxInFlight: state.maxInFlight,
            pendingBytes: state.pendingBytes.held,
            maxPendingBytes: state.pendingBytes.limit
        )
        self.needsApp = needsApp
    }
}

/// Gauges whose value already stands somewhere: read at the scrape, so that nothing is counted twice.
enum Gauges {
    static func register(_ state: ServerState, in registry: PrometheusRegistry) {
        registry.gauge("sidesocket_connections", labels: [("transport", TransportKind.webSocket.rawValue)]) {
            Double(state.sessions - state.streams)
        }
        registry.gauge("sidesocket_connections", labels: [("transport", TransportKind.eventStream.rawValue)]) {
            Double(state.streams)
        }
        registry.gauge("sidesocket_max_connections", labels: []) { Double(state.maxConnections) }
        registry.gauge("sidesocket_webhook_max_in_flight", labels: []) { Double(state.maxInFlight) }
        registry.gauge("sidesocket_max_total_pending_bytes", labels: []) { Double(state.pendingBytes.limit) }
        registry.gauge("sidesocket_webhook_in_flight", labels: []) { Double(state.inFlight) }
        registry.gauge("sidesocket_webhook_queue_depth", labels: []) { Double(state.queueDepth) }
        registry.gauge("sidesocket_pending_bytes", labels: []) { Double(state.pendingBytes.held) }
        registry.gauge("sidesocket_send_buffer_bytes", labels: []) { Double(state.sendBuffers.held) }
        let sendLimit = state.sendBuffers.limit
        registry.gauge("sidesocket_max_total_send_buffer_bytes", labels: []) {
            sendLimit == Settings.unlimited ? .infinity : Double(sendLimit)
        }
        for (index, address) in state.appAddresses.enumerated() {
            registry.gauge("sidesocket_breaker_state", labels: [("address", address.name)]) {
                let addresses = state.appAddresses
                return addresses.indices.contains(index) ? Double(addresses[index].breaker.rawValue) : 0
            }
        }
        registry.gauge("sidesocket_outbox_failing", labels: []) { state.outboxIsWritable == false ? 1 : 0 }
        registry.gauge("sidesocket_outbox_buffered_bytes", labels: []) { Double(state.outboxBytesBuffered) }
        registry.gauge("sidesocket_channels", labels: []) { Double(state.channelCount) }
        registry.gauge("sidesocket_subscriptions", labels: []) { Double(state.subscriptions) }
        registry.gauge("sidesocket_history_bytes", labels: []) { Double(state.historyBytes) }
        registry.gauge("sidesocket_draining", labels: []) { state.isDraining ? 1 : 0 }
    }
}
