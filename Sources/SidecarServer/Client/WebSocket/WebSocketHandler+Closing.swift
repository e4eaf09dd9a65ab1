import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

/// The state of a closing connection.
struct Closing {
    var handshake = CloseHandshake()
    var linger = Linger(patience: ServerConfiguration.flushPatience)
    /// True once it is counted as a socket that has left.
    var hasLeft = false
}

/// Closing, from either side (RFC 6455 §7).
extension WebSocketHandler {
    /// The app has decided about a client that has authenticated on the open socket.
    func handshakeDecided(_ decision: HandshakeDecision) {
        switch decision {
        case .accept:
            loop.metrics.count(.accepted)
            // In its own turn: the session has yet to apply what the app said with its acceptance.
            loop.eventLoop.assumeIsolated().execute { self.resumeReading() }
        case .relay(let head, _):
            loop.metrics.count(.appRefused)
            let failure = DeliveryFailure.status(head.status)
            if head.status >= 500 {
                close(code: failure.closeCode, reason: failure.closeReason)
            } else {
                close(code: .forbidden, reason: "the application refuses the connection")
            }
        case .fail(let failure):
            loop.metrics.count(.appFailed)
            close(code: failure.closeCode, reason: failure.closeReason)
        case .refuse(let refusal, let result):
            loop.metrics.count(result)
            switch result {
            case .draining: close(code: .serviceRestart, reason: refusal.sentence)
            case .connectionLimit where refusal.status == 429: close(code: .policyViolation, reason: refusal.sentence)
            case .auth: close(code: .forbidden, reason: refusal.sentence)
            default: close(code: .tryAgainLater, reason: refusal.sentence)
            }
        }
    }

    func close(code: SessionCloseCode, reason: String, farewell: [ByteBuffer]) {
        if phase == .residual, !held.isProcessing { discardResidualInput(reason: .closed) }
        guard phase == .open, let code = CloseCode(sendable: Int(code.rawValue)),
            case .sendClose(let code) = closing.handshake.localClose(code)
        else { return }
        phase = .awaitingClose
        sendClose(code, reason, farewell: farewell)
        guard phase == .awaitingClose else { return }  // the write has failed: the client has gone
        arm(at: closing.linger.begin(at: .now()))
        resumeReading()  // back-pressure must not hide the client's Close
    }

    func peerClosed(_ code: CloseCode?, _ reason: String) {
        switch closing.handshake.receivedClose(code) {
        case .replyThenClose(let code):
            // Before our Close frame, whose write may show that the client has gone.
            session.transportEnded(
                self,
                code: SessionCloseCode(code ?? .noStatus),
                reason: reason,
                initiator: .client
            )
            guard phase != .residual else { return }  // the client has gone, as its close event has shown
            phase = .lingering
            sendClose(code, "")
            linger()
        case .closeNow: linger()
        case .ignore: break
        }
    }

    /// The client broke the protocol or one of its limits.
    func fail(_ violation: ProtocolViolation) {
        switch closing.handshake.fail(violation.closeCode) {
        case .sendThenClose(let code):
            if let limit = Limit(violation) { loop.metrics.limited(limit, action: .closed) }
            if let kind = RefusalKind(violation) { session.noteRefused(kind) }
            session.countViolation()
            session.transportEnded(self, code: SessionCloseCode(code), reason: violation.reason, initiator: .server)
            guard phase != .residual else { return }
            phase = .lingering
            sendClose(code, violation.reason)
            linger()
        case .closeNow: linger()
        case .ignore: break
        }
    }

    private func sendClose(_ code: CloseCode?, _ reason: String, farewell: [ByteBuffer] = []) {
        output.finish()
        if case .protocolFrames(let encoding) = messageCodec {
            for bytes in farewell { output.sendAtOnce(RawFrames.encode(encoding.format, bytes)) }
        }
        var frame = ByteBufferAllocator().buffer(capacity: 2 + 2 + reason.utf8.count)
        FrameEncoder.writeClose(code, reason: reason, into: &frame)
        output.sendAtOnce(frame)
        output.flush()  // before our half may end
    }

    /// Ends our half and discards the client's input until it ends too: closing at once with unread bytes would make
    /// the system send a reset, and the client would never see our code.
    func linger() {
        guard phase != .gone, phase != .residual else { return }
        phase = .lingering
        if !closing.hasLeft { loop.state.socketLeft() }
        closing.hasLeft = true
        _ = held.take()
        control.pendingPong = nil
        arm(at: closing.linger.begin(at: .now()))
        context?.close(mode: .output, promise: nil)
        resumeReading()
    }

    /// When to check again while unsent bytes still go out, slowly, so that the client does not lose the end.
    func deadlineWhileSending(at now: NIODeadline) -> NIODeadline? {
        guard !output.isTooSlow,
            case .wait(let deadline) = closing.linger.deadlineReached(unsentBytes: output.unsentBytes, at: now)
        else { return nil }
        return deadline
    }
}

extension SessionCloseCode {
    /// The same number.
    init(_ code: CloseCode) { self.init(rawValue: code.rawValue) }
}

extension RefusalKind {
    /// The limit that a message exceeded; nil for one that no setting controls.
    fileprivate init?(_ violation: ProtocolViolation) {
        switch violation {
        case .messageTooBig: self = .messageBytes
        case .tooManyFragments: self = .fragments
        case .compressionRatio: self = .compressionRatio
        default: return nil
        }
    }
}
