import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

@testable import SidecarServer

/// A client that speaks no version of HTTP: it notes what it is told.
final class FakeClient: ClientExchange {
    private(set) var notes: [String] = []
    var isWritable = true

    func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    func pullBody() { notes.append("pull") }
    func noteProgress() {}
    func interim(_ head: ClientResponseHead) { notes.append("interim \(head.status)") }
    func respond(_ head: ClientResponseHead) { notes.append("respond \(head.status) \(head.body)") }
    func send(_ bytes: ByteBuffer) { notes.append("send \(String(buffer: bytes))") }
    func end(trailers: HTTPHeaders?) { notes.append(trailers == nil ? "end" : "end with trailers") }
    func flush() { notes.append("flush") }
    func abort() { notes.append("abort") }
    func refuse(_ refusal: Refusal, handshake: HandshakeResult?) { notes.append("refuse \(refusal.status)") }
    func relay(_ reply: HTTPReplyHead, body: ByteBuffer) { notes.append("relay \(reply.status)") }
    func becomeEventStream(_ session: BridgeSession, _ head: ClientResponseHead) { notes.append("event stream") }

    func becomeWebSocket(
        _ session: BridgeSession,
        _ head: SwitchingProtocols,
        deflate: NegotiatedDeflate?,
        isAccepted: Bool
    ) {
        notes.append("WebSocket")
    }
}
