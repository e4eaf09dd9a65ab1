import ListenerSupport
import Logging
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

/// Waits for somebody to ask for a drain; its end shuts the group down.
final class DrainRequest: Service {
    private let requests: AsyncStream<Void>
    private let requested: AsyncStream<Void>.Continuation
    private let flag = Atomic<Bool>(false)
    private let onRequest: @Sendable () -> Void

    /// - Parameter onRequest: Called when a drain is asked for, once.
    init(onRequest: @escaping @Sendable () -> Void) {
        self.onRequest = onRequest
        (requests, requested) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    }

    /// Asks for the drain.
    ///
    /// - Returns: False when somebody else has asked before.
    @discardableResult
    func make() -> Bool {
        guard !flag.exchange(true, ordering: .acquiringAndReleasing) else { return false }
        onRequest()
        requested.yield()
        return true
    }

    func run() async {
        for await _ in requests.cancelOnGracefulShutdown() { return }
    }
}

/// What SIGTERM and SIGINT do: the first drains, the second ends the process at once.
///
/// A signal that comes when the API has begun the drain asks for what happens already; supervisors send one after their
/// own request to drain. Signals are watched to the very end of the process, outside of the group of services: what the
/// group traps it lets go of at some moment of its shutdown.
enum TerminationSignals {
    static func watch(_ drain: DrainRequest, _ logger: Logger) async {
        var isSpent = false
        for await kind in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
            let isFirst = drain.make()
            if isSpent { endAtOnce(by: kind) }
            isSpent = true
            if !isFirst { logger.notice("already draining; another signal ends the process at once") }
        }
    }

    /// Ends as if the signal had not been caught, so that the supervisor sees it.
    private static func endAtOnce(by kind: UnixSignal) {
        signal(kind.rawValue, SIG_DFL)
        // The threads of the runtime block it.
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, kind.rawValue)
        pthread_sigmask(SIG_UNBLOCK, &set, nil)
        raise(kind.rawValue)
        _exit(128 + kind.rawValue)
    }
}

/// Reads the settings again on SIGHUP, and when the files of a certificate have changed. Bad ones change nothing, and say
/// why.
struct SettingsReloader: Service, CustomStringConvertible {
    /// How often files are looked at.
    private static let watchInterval = Duration.seconds(2)

    let edge: EdgeService
    let flags: RawSettings
    let controlTLS: ControlTLS?
    let notifier: ServiceNotifier?
    /// SIGHUP, caught since before anything listens: whoever sees that it does may send one.
    let hangups: UnixSignalsSequence
    let logger: Logger

    /// The library that runs services logs them; the flags may hold secrets.
    var description: String { "SettingsReloader" }

    func run() async {
        // One at a time, or an older reading of the files could win. Whoever asks while one is under way gets another.
        let (requests, requested) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        await withTaskGroup(of: Void.self) { tasks in
            tasks.addTask {
                for await _ in hangups.cancelOnGracefulShutdown() {
                    requested.yield()
                }
            }
            tasks.addTask { await cancelWhenGracefulShutdown { await watch { requested.yield() } } }
            for await _ in requests.cancelOnGracefulShutdown() { await reload() }
        }
    }

    private func watch(_ changed: () -> Void) async {
        var seen = filesInUse()
        while (try? await Task.sleep(for: Self.watchInterval)) != nil {
            let now = filesInUse()
            // Also with a file that a reload has just named: it may have been replaced since.
            if now == seen { continue }
            seen = now
            logger.notice("a TLS file changed; reloading")
            changed()
        }
    }

    /// The TLS files that the settings in force name.
    private func filesInUse() -> [String: FileFacts?] {
        let settings = edge.settings
        let paths = [
            settings.tlsCertificate, settings.tlsKey, settings.tlsClientCA,
            settings.controlTLSCertificate, settings.controlTLSKey,
        ]
        return Dictionary(paths.compactMap(\.self).map { ($0, FileFacts(path: $0)) }) { first, _ in first }
    }

    private func reload() async {
        notifier?.reloading()
        defer { notifier?.reloaded() }
        switch Settings.parse(SettingsSources.gather(flags: flags, isReload: true)) {
        case .failure(let faults):
            logger.error("settings not reloaded; the old ones stay in force", metadata: ["faults": "\(faults)"])
        case .success(let settings):
            do {
                let control = try controlTLS?.reading(settings)
                let reload = try await edge.reload(settings)
                if let control { controlTLS?.use(control) }
                logger.notice("settings reloaded", metadata: ["changed": "\(reload.changed.joined(separator: " "))"])
                if !reload.needRestart.isEmpty {
                    logger.warning(
                        "these settings need a restart; the old values stay in force",
                        metadata: ["variables": "\(reload.needRestart.joined(separator: " "))"]
                    )
                }
                logPlan(HeartbeatPlan(reload.settings), to: logger)
            } catch {
                logger.error("settings not reloaded; the old ones stay in force", metadata: ["error": "\(error)"])
            }
        }
    }
}
