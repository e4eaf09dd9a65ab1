import Logging
import NIOCore
import SidecarCore

/// The rate of pings and pongs (`CONTROL_RATE`).
extension WebSocketHandler {
    /// True while nothing may be read.
    var mustPauseReading: Bool { controlPauseEnds != nil || session.mustPauseReading }

    /// Counts a ping or pong, and stops reading for one that came too soon.
    func countControl(_ frame: ControlAllowance.Frame, at now: NIODeadline) {
        guard phase == .open else { return }
        let limit = DryRunLimit.controlRate
        var isDry: Bool { shard.configuration.settings.dryRun.contains(limit) }
        let time = Int64(clamping: now.uptimeNanoseconds)
        let wait = control.take(frame, shard.admission.sessions.allowances.controls, isDry: isDry, now: time)
        guard wait > 0 else { return }
        shard.metrics.limited(Limit(limit), action: isDry ? .dryRun : .throttled)
        guard !isDry else { return }
        session.noteRefused(.controlRate, ["action": "throttled"])
        controlPauseEnds = now + .nanoseconds(wait)
        armForOpen()
    }

    /// Reads on.
    func endControlPause() {
        guard controlPauseEnds != nil else { return }
        controlPauseEnds = nil
        resumeReading()
    }
}
