import Logging
import ServiceLifecycle
import UnixSignals

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What SIGTERM and SIGINT do: the first drains, the second ends the process at once.
///
/// A signal that comes when the API has begun the drain asks for what happens already; supervisors send one after their
/// own request to drain. Signals are watched until the process ends, outside of the service group, because the
/// group stops catching them during its shutdown.
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
