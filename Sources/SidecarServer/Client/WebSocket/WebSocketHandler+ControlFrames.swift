import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// The pings and pongs of one client.
struct ControlFrames {
    var allowance = ControlAllowance()
    /// When reading continues after too many control frames; nil while it is not paused.
    var pauseEnds: NIODeadline?
    /// The newest ping, while its answer has to wait.
    var pendingPong: ByteBuffer?
}

/// Answers to pings, and the rate of pings and pongs (`CONTROL_RATE`).
extension WebSocketHandler {
    /// How many bytes of pongs may be unsent before only the newest ping is answered (RFC 6455 §5.5.3).
    private static let maxUnsentPongBytes = 4096

    func answerPing(_ payload: ByteBuffer) {
        guard phase == .open else { return }
        if !output.isWritable || output.unsentBytes > Self.maxUnsentPongBytes {
            control.pendingPong = payload
            return
        }
        writePong(payload)
    }

    func sendPendingPong() {
        guard phase == .open, output.isWritable, let payload = control.pendingPong.take() else { return }
        writePong(payload)
    }

    private func writePong(_ payload: ByteBuffer) {
        var frame = ByteBufferAllocator().buffer(capacity: payload.readableBytes + 2)
        FrameEncoder.write(.pong, payload: payload, into: &frame)
        output.sendAtOnce(frame)
    }

    /// True while nothing may be read.
    var mustPauseReading: Bool { control.pauseEnds != nil || session.mustPauseReading }

    /// Counts a ping or pong, and stops reading when it came too soon.
    func countControl(_ frame: ControlAllowance.Frame, at now: NIODeadline) {
        guard phase == .open else { return }
        let limit = DryRunLimit.controlRate
        var isDry: Bool { loop.configuration.settings.dryRun.contains(limit) }
        let time = Int64(clamping: now.uptimeNanoseconds)
        var allowance = control.allowance
        let wait = allowance.take(frame, loop.admission.sessions.allowances.controls, isDry: isDry, now: time)
        control.allowance = allowance
        guard wait > 0 else { return }
        loop.metrics.limited(Limit(limit), action: isDry ? .dryRun : .throttled)
        guard !isDry else { return }
        session.noteRefused(.controlRate, .action(.throttled))
        control.pauseEnds = now + .nanoseconds(wait)
        armForOpen()
    }

    /// Resumes reading.
    func endControlPause() {
        guard control.pauseEnds != nil else { return }
        control.pauseEnds = nil
        resumeReading()
    }
}
