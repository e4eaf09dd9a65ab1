import ListenerSupport
import Logging
import ServiceLifecycle
import SidecarCore
import SidecarServer
import UnixSignals

/// Reads the settings again on SIGHUP, and when the files of a certificate have changed. Bad ones change nothing, and say
/// why.
struct SettingsReloader: Service, CustomStringConvertible {
    /// How often files are looked at.
    private static let watchInterval = Duration.seconds(2)

    let edge: EdgeService
    let flags: RawSettings
    let controlTLS: ControlTLS?
    let notifier: ServiceNotifier?
    /// SIGHUP. It is caught before anything listens, so that one sent early does not end the process.
    let hangups: UnixSignalsSequence
    let logger: Logger

    /// The library that runs services logs them; the flags may hold secrets.
    var description: String { "SettingsReloader" }

    func run() async {
        // One at a time, or an older reading of the files could win. A request during a reload leads to another one.
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
