import Logging
import SidecarCore

/// What follows when a limit of `DRY_RUN` is reached: it is counted and the operator is told, or it lets pass.
struct LimitEnforcement: Sendable {
    let dryRun: Set<DryRunLimit>
    let metrics: ServerMetrics
    let refusals: RefusalLog

    /// True for a limit in a dry run, which is counted and lets pass.
    func allows(_ limit: DryRunLimit) -> Bool {
        guard dryRun.contains(limit) else { return false }
        metrics.limited(Limit(limit), action: .dryRun)
        return true
    }

    /// A client was turned away.
    func refused(_ limit: DryRunLimit, client: String, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        metrics.limited(Limit(limit), action: .refused)
        refusals.note(RefusalKind(limit), client: client, more())
    }

    /// The same about the sender of a request.
    func refused(_ limit: DryRunLimit, _ client: ResolvedClient, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        metrics.limited(Limit(limit), action: .refused)
        refusals.note(RefusalKind(limit), client, more())
    }
}
