import Logging

/// What a limit did, the `action` label of `limited_total`.
enum LimitAction: String, CaseIterable {
    /// Input of the client had to wait.
    case throttled
    case refused
    case closed
    /// Nothing: it is one of `DRY_RUN`.
    case dryRun = "dry_run"
}

extension Logger.Metadata {
    /// The field of a log line that says what a limit did.
    static func action(_ action: LimitAction) -> Logger.Metadata { ["action": "\(action.rawValue)"] }
}
