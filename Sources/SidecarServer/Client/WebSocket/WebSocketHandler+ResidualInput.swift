import NIOCore
import SidecarCore
import WebSocketProtocol

/// Residual input: what a client had sent before it left.
extension WebSocketHandler {
    /// Messages that back-pressure held up came before the client's end and still count, under the same limits.
    func takeResidualInput() {
        guard phase == .residual, !held.isProcessing else { return }
        held.isProcessing = true
        defer { held.isProcessing = false }
        let now = NIODeadline.now()
        var bytes = held.take() ?? ByteBuffer()
        while phase == .residual {
            if session.mustPauseResidualInput, bytes.readableBytes > 0 {
                held.hold(bytes)
                session.inputWaits()
                loop.state.pendingBytes.adjust(by: residual.change(to: bytes.readableBytes))
                return
            }
            guard let event = try? reader.next(from: &bytes) else { break }
            switch event {
            case .message(let kind, let payload):
                session.received(.init(kind), payload, at: now)
            case .close(let code, let reason):
                endResidualInput()
                session.transportEnded(
                    self,
                    code: SessionCloseCode(code ?? .noStatus),
                    reason: reason,
                    initiator: .client
                )
            case .ping, .pong:
                break
            }
        }
        endResidualInput()
        session.transportEnded(self, code: .abnormal, reason: "", initiator: .network)
    }

    /// The rest of the input is not needed any more; its complete messages count as dropped.
    func discardResidualInput(reason: DropReason) {
        if let input = held.take() {
            loop.metrics.messagesDropped(reader.messagesCompleted(by: input), reason: reason)
        }
        endResidualInput()
    }

    private func endResidualInput() {
        guard phase == .residual else { return }
        phase = .gone
        _ = held.take()
        loop.timers.cancel(timer)
        loop.state.pendingBytes.adjust(by: residual.change(to: 0))
        loop.registry.release(self)
    }
}
