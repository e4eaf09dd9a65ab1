import HTTP1
import NIOCore
import SidecarCore

/// How long each phase may take, and how the connection ends.
extension EdgeHTTPHandler {
    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        switch phase {
        case .readingHead:
            if reader.hasStartedRequest {
                noteRefused(.handshakeTimeout)
                refuse(
                    Refusal(status: 408, sentence: "The request head took too long.", reason: .timeout),
                    handshake: .timeout
                )
                return now + ServerConfiguration.linger
            }
            if requestsServed == 0 { loop.metrics.httpRefused(.timeout) }  // else it was kept alive for nothing
            endNow()
        case .holding:
            refuse(Refusal(status: 408, sentence: "The body of the request took too long.", reason: .timeout))
            return now + ServerConfiguration.linger
        case .proxying(let exchange):
            loop.metrics.httpRefused(.clientStalled)
            exchange.clientGone()
            endNow()
        case .upgrading(let attempt):
            attempt.admissionTimedOut()
            if case .lingering = phase { return now + ServerConfiguration.linger }
        case .lingering:
            switch linger.deadlineReached(unsentBytes: unsentBytes, at: now) {
            case .wait(let next): return next
            case .close: endNow()
            }
        case .posting(let exchange):
            exchange.clientGone()
            refuse(
                Refusal(
                    status: 503,
                    sentence: "The session has no room for the POST; repeat it.",
                    reason: .timeout,
                    retryAfter: ServerConfiguration.retryAfter()
                )
            )
            return now + ServerConfiguration.linger
        case .gone:
            break
        }
        return nil
    }

    func armTimer(after delay: TimeAmount) {
        loop.timers.arm(timer, owner: self, at: .now() + delay)
    }

    /// Bytes went from or to the client, so it has not stalled; while it has nothing to do, it cannot stall.
    func noteProgress() {
        guard case .proxying(let exchange) = phase else { return }
        if exchange.waitsForClient {
            armTimer(after: ServerConfiguration.clientStall)
        } else {
            loop.timers.cancel(timer)
        }
    }

    /// The last response has been sent: ends our half and discards further input.
    func beginLinger() {
        if case .gone = phase { return }
        phase = .lingering
        if !hasLeft { loop.state.socketLeft() }
        hasLeft = true
        let deadline = linger.begin(at: .now())
        context?.close(mode: .output, promise: nil)
        loop.timers.arm(timer, owner: self, at: deadline)
        if readWithheld {
            readWithheld = false
            context?.read()
        }
    }

    /// Closes at once.
    func endNow() {
        context?.close(promise: nil)
    }

    // MARK: The end of the process

    func drain() {
        isClosingSoon = true
        if case .readingHead = phase, !reader.hasStartedRequest { endNow() }
    }

    /// Requests that still wait for the app get a response of ours.
    func drainIsOver() {
        switch phase {
        case .proxying(let exchange) where !exchange.isReplyBegun:
            exchange.clientGone()
            refuse(.draining)
        case .holding, .posting: refuse(.draining)
        case .readingHead, .upgrading, .proxying, .lingering, .gone: break
        }
        endNow()
    }
}
