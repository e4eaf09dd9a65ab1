import ControlPlane
import Logging
import PrometheusMetrics
import ServiceLifecycle
import SidecarCore
import SidecarServer
import Synchronization
import UnixSignals

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

/// Waits for somebody to ask for a drain by the API; its end shuts the group down.
final class DrainRequest: Service {
    private let requests: AsyncStream<Void>
    private let requested: AsyncStream<Void>.Continuation
    private let flag = Atomic<Bool>(false)

    init() {
        (requests, requested) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// True when it was asked for by the API and not by a signal.
    var isMade: Bool { flag.load(ordering: .acquiring) }

    func make() {
        flag.store(true, ordering: .releasing)
        requested.yield()
    }

    func run() async {
        for await _ in requests.cancelOnGracefulShutdown() { return }
        try? await gracefulShutdown()
    }
}

/// Reads the settings again on SIGHUP. Bad ones change nothing, and say why.
struct SettingsReloader: Service {
    let edge: EdgeService
    let flags: RawSettings
    let logger: Logger

    func run() async {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            await reload()
        }
    }

    private func reload() async {
        switch Settings.parse(SettingsSources.gather(flags: flags)) {
        case .failure(let faults):
            logger.error("settings not reloaded, the old ones hold", metadata: ["faults": "\(faults)"])
        case .success(let settings):
            do {
                let reload = try await edge.reload(settings)
                logger.notice("settings reloaded", metadata: ["changed": "\(reload.changed.joined(separator: " "))"])
                if !reload.needRestart.isEmpty {
                    logger.warning(
                        "these need a restart, the old values hold",
                        metadata: ["variables": "\(reload.needRestart.joined(separator: " "))"]
                    )
                }
                logPlan(HeartbeatPlan(reload.settings), to: logger)
            } catch {
                logger.error(
                    "settings not reloaded, the old ones hold",
                    metadata: ["SIDESOCKET_APP_CA_FILE": "\(settings.appCAFile ?? "")", "error": "\(error)"]
                )
            }
        }
    }
}

/// Says how sockets are kept alive, and what of it does not fit together.
func logPlan(_ plan: HeartbeatPlan, to logger: Logger) {
    logger.notice("heartbeat", metadata: ["plan": "\(plan.explanation.joined(separator: " "))"])
    for warning in plan.warnings { logger.warning("heartbeat does not fit", metadata: ["why": "\(warning)"]) }
}

/// What the operating system allows.
enum SystemLimits {
    /// Descriptors for listeners, event loops, files, the runtime and connections accepted in one go; with none left,
    /// the process would not survive.
    private static func ownDescriptors(threads: Int) -> Int { 48 + 4 * threads }

    /// Raises the limit on open files as far as it goes, and says how many of them clients and connections to the
    /// app may use.
    static func availableDescriptors(threads: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 256 }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return max(Int(clamping: limit.rlim_cur) - ownDescriptors(threads: threads), 8)
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
    init(_ state: ServerState) {
        self.init(
            listening: state.isListening,
            draining: state.isDraining,
            appReachable: state.appReachable,
            connections: state.sockets,
            maxConnections: state.maxConnections,
            inFlight: state.inFlight,
            maxInFlight: state.maxInFlight,
            pendingBytes: state.pendingBytes.held,
            maxPendingBytes: state.pendingBytes.limit
        )
    }
}

/// Gauges whose value already stands somewhere: read at the scrape, so that nothing is counted twice.
enum Gauges {
    static func register(_ state: ServerState, in registry: PrometheusRegistry) {
        registry.gauge("sidesocket_connections", labels: []) { Double(state.sessions) }
        registry.gauge("sidesocket_webhook_in_flight", labels: []) { Double(state.inFlight) }
        registry.gauge("sidesocket_webhook_queue_depth", labels: []) { Double(state.queueDepth) }
        registry.gauge("sidesocket_pending_bytes", labels: []) { Double(state.pendingBytes.held) }
        registry.gauge("sidesocket_send_buffer_bytes", labels: []) { Double(state.unsentBytes) }
        registry.gauge("sidesocket_draining", labels: []) { state.isDraining ? 1 : 0 }
    }
}
