import HTTP1
import NIOCore
import SidecarCore

/// Requests whose bodies may be events (``StructuredEvents``).
extension EdgeHTTPHandler {
    /// Reads the body of a request before the app gets any of it; sends 100 to a client that waits for it.
    func beginInspection(_ head: HTTPRequestHead, target: String) {
        let budget = loop.state.inspectionBytes
        phase = .inspecting(BodyInspection(head: head, target: target, budget: budget))
        armTimer(after: ServerConfiguration.clientStall)
        if head.expectsContinue {
            write(HTTPResponseWriter.continuation)
            flush()
        }
    }

    /// Takes the next part of a body; false when there is none.
    func inspect(_ inspection: BodyInspection) throws(HTTPParseError) -> Bool {
        guard let part = try reader.next() else { return false }
        switch part {
        case .head: return false  // a head can only follow an end
        case .body(let bytes):
            if let refusal = inspection.append(bytes) { refuse(refusal) }
        case .end(let trailers):
            loop.timers.cancel(timer)
            if let refusal = StructuredEvents.refusal(of: inspection.body) {
                refuse(refusal)
            } else {
                passOn(
                    ProxyExchange(inspection, trailers: trailers, from: client, client: self, loop: loop)
                )
            }
        }
        return true
    }
}
