import Logging
import NIOCore
import SidecarCore
import WebSocketProtocol

/// Input: frames come in, events go to the session.
extension WebSocketHandler {
    func process(_ input: consuming ByteBuffer, at now: NIODeadline) {
        var bytes = input
        var sawMessage = false
        held.isProcessing = true
        repeat { takeEvents(from: &bytes, at: now, &sawMessage) } while takeArrived(behind: &bytes)
        held.isProcessing = false
        keep(bytes)
        watchAssembly(restarted: sawMessage, at: now)
    }

    private func takeEvents(from bytes: inout ByteBuffer, at now: NIODeadline, _ sawMessage: inout Bool) {
        do {
            while phase == .open || phase == .awaitingClose {
                if phase == .open, mustPauseReading {
                    if bytes.readableBytes > 0 { session.inputWaits() }
                    break
                }
                guard let event = try reader.next(from: &bytes) else { break }
                if case .message = event {
                    sawMessage = true
                    heartbeat.receivedMessage(at: now)
                }
                handle(event, at: now)
                if bytes.readableBytes == 0 { break }
            }
        } catch {
            fail(error)
        }
    }

    /// Input that arrived while events were processed belongs after the rest of those events.
    private func takeArrived(behind bytes: inout ByteBuffer) -> Bool {
        guard var arrived = held.take() else { return false }
        bytes.writeBuffer(&arrived)
        return true
    }

    private func keep(_ bytes: ByteBuffer) {
        if phase == .residual {
            // The client was found to have gone while its messages were processed.
            held.hold(bytes)
            return takeResidualInput()
        }
        guard phase == .open || phase == .awaitingClose, bytes.readableBytes > 0 else { return }
        // A few bytes of a frame header must not retain the whole buffer that they were read into.
        held.hold(bytes.readableBytes <= 16 ? ByteBuffer(bytes: bytes.readableBytesView) : bytes)
    }

    private func handle(_ event: WebSocketEvent, at now: NIODeadline) {
        switch event {
        case .message(let kind, let payload):
            if phase == .open { session.received(.init(kind), payload, at: now) }
        case .ping(let payload):
            answerPing(payload)
            countControl(.ping, at: now)
        case .pong(let payload):
            noteRoundTrip(payload)
            countControl(.pong, at: now)
        case .close(let code, let reason):
            peerClosed(code, reason)
        }
    }

    // MARK: Back-pressure

    var hasInputWaiting: Bool { !held.isEmpty || phase == .open && output.hasInput }

    func resumeReading() {
        if phase == .residual { return takeResidualInput() }
        if !held.isProcessing, let input = held.take() { process(input, at: .now()) }
        if held.isReadWithheld, phase != .open || !mustPauseReading {
            held.isReadWithheld = false
            context?.read()
        }
    }

    // MARK: Messages in parts

    private func watchAssembly(restarted: Bool, at now: NIODeadline) {
        let isAssembling = reader.isAssembling
        let budget = loop.state.assemblyBytes
        let isHolding = phase == .open && isAssembling
        budget.adjust(by: assembly.share.change(to: isHolding ? reader.bytesReserved + reader.codecBytes : 0))
        guard phase == .open else { return }
        if assembly.share.bytes > 0, budget.isSpent {
            loop.metrics.limited(.maxTotalPendingBytes, action: .closed)
            session.noteRefused(.totalPendingBytes, .action(.closed))
            session.close(
                code: .tryAgainLater,
                reason: "too many messages are partly received",
                for: .assemblyBudget
            )
            return
        }
        let timeout = loop.configuration.settings.messageAssemblyTimeout
        if assembly.update(isAssembling: isAssembling, restarted: restarted, timeout: timeout, at: now) { armForOpen() }
    }

    func closeIfAssemblyIsOverdue(at now: NIODeadline) {
        let timeout = loop.configuration.settings.messageAssemblyTimeout
        guard assembly.isOverdue(at: now, isReading: !mustPauseReading, timeout: timeout) else { return }
        loop.metrics.limited(.messageAssemblyTimeout, action: .closed)
        session.noteRefused(.assemblyTimeout)
        session.close(
            code: .policyViolation,
            reason: "the message took too long",
            for: .assemblyTimeout
        )
    }
}
