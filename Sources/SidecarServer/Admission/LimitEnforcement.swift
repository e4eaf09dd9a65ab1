import Logging
import SidecarCore

/// What happens when a limit of `DRY_RUN` is reached: the client is refused and the operator told, or it is only
/// counted.
struct LimitEnforcement: Sendable {
    let dryRun: Set<DryRunLimit>
    let metrics: ServerMetrics
    let refusals: RefusalLog

    /// True for a limit in a dry run, which is counted and not enforced.
    func allows(_ limit: DryRunLimit) -> Bool {
        guard dryRun.contains(limit) else { return false }
        metrics.limited(Limit(limit), action: .dryRun)
        return true
    }

    /// Records that a client was refused.
    func refused(_ limit: DryRunLimit, client: String, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        metrics.limited(Limit(limit), action: .refused)
        refusals.note(RefusalKind(limit), client: client, more())
    }

    /// Records that the sender of a request was refused.
    func refused(_ limit: DryRunLimit, _ client: ResolvedClient, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        metrics.limited(Limit(limit), action: .refused)
        refusals.note(RefusalKind(limit), client, more())
    }
}
