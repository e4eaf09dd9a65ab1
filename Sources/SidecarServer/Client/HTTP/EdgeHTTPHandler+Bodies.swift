import HTTP1
import NIOCore
import SidecarCore

/// Requests whose bodies are read whole before anything is done with them.
extension EdgeHTTPHandler {
    /// Reads the body of a request; sends 100 to a client that waits for it.
    func hold(_ head: HTTPRequestHead, for purpose: HeldBody.Purpose) {
        let held = HeldBody(
            head: head,
            for: purpose,
            budget: loop.state.inspectionBytes,
            maxPostBytes: loop.configuration.maxPostBytes
        )
        phase = .holding(held)
        if case .protocolPost = purpose, let refusal = held.announcedRefusal { return refuse(refusal) }
        armTimer(after: patience(for: purpose))
        if head.expectsContinue {
            write(HTTPResponseWriter.continuation)
            flush()
        }
    }

    /// How long the body may take.
    private func patience(for purpose: HeldBody.Purpose) -> TimeAmount {
        switch purpose {
        case .inspection: ServerConfiguration.clientStall
        case .protocolPost:
            min(ServerConfiguration.clientStall, loop.configuration.settings.messageAssemblyTimeout)
        }
    }

    /// Takes the next part of a body; false when there is none.
    func take(_ held: HeldBody) throws(HTTPParseError) -> Bool {
        guard let part = try reader.next() else { return false }
        switch part {
        case .head: return false  // a head can only follow an end
        case .body(let bytes):
            if let refusal = held.append(bytes) { refuse(refusal) }
        case .end(let trailers):
            loop.timers.cancel(timer)
            switch held.purpose {
            case .inspection(let target):
                if let refusal = StructuredEvents.refusal(of: held.body) {
                    refuse(refusal)
                } else {
                    passOn(
                        ProxyExchange(held, to: target, trailers: trailers, from: client, client: self, loop: loop)
                    )
                }
            case .protocolPost(let resolved, let asksForStream):
                take(held, from: resolved, asksForStream: asksForStream)
            }
        }
        return true
    }
}
