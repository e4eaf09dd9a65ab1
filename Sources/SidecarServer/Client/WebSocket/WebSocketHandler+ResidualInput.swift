import NIOCore
import SidecarCore
import WebSocketProtocol

/// What a client that has gone had sent before.
extension WebSocketHandler {
    /// The messages that back-pressure held up came before the client's end and still count, under the same limits.
    func takeResidualInput() {
        guard phase == .residual, !isProcessing else { return }
        isProcessing = true
        defer { isProcessing = false }
        let now = NIODeadline.now()
        var bytes = input ?? ByteBuffer()
        input = nil
        while phase == .residual {
            if session.mustPauseResidualInput, bytes.readableBytes > 0 {
                input = bytes
                session.inputWaits()
                accountResidualInput(bytes.readableBytes)
                return
            }
            guard let event = try? reader.next(from: &bytes) else { break }
            switch event {
            case .message(let kind, let payload):
                session.received(.init(kind), payload, at: now)
            case .close(let code, let reason):
                endResidualInput()
                session.transportEnded(code: (code ?? .noStatus).rawValue, reason: reason, initiator: .client)
            case .ping, .pong:
                break
            }
        }
        endResidualInput()
        session.transportEnded(code: 1006, reason: "", initiator: .network)
    }

    /// Nobody asks for the rest of the input any more; what is whole in it counts as dropped.
    func discardResidualInput(reason: String) {
        if let input { shard.metrics.messagesDropped(reader.messagesCompleted(by: input), reason: reason) }
        endResidualInput()
    }

    private func endResidualInput() {
        guard phase == .residual else { return }
        phase = .gone
        input = nil
        shard.timers.cancel(timer)
        accountResidualInput(0)
        shard.release(self)
    }
}
