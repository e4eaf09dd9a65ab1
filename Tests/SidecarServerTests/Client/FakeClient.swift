import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

@testable import SidecarServer

/// A client that speaks no version of HTTP: it records what it is told.
final class FakeClient: ClientExchange {
    private(set) var calls: [String] = []
    var isWritable = true

    func takeNotes() -> [String] {
        defer { calls = [] }
        return calls
    }

    func pullBody() { calls.append("pull") }
    func noteProgress() {}
    func interim(_ head: ClientResponseHead) { calls.append("interim \(head.status)") }
    func respond(_ head: ClientResponseHead) { calls.append("respond \(head.status) \(head.body)") }
    func send(_ bytes: ByteBuffer) { calls.append("send \(String(buffer: bytes))") }
    func end(trailers: HTTPHeaders?) { calls.append(trailers == nil ? "end" : "end with trailers") }
    func flush() { calls.append("flush") }
    func abort() { calls.append("abort") }
    func refuse(_ refusal: Refusal, handshake: HandshakeResult?) { calls.append("refuse \(refusal.status)") }
    func relay(_ reply: HTTPReplyHead, body: ByteBuffer) { calls.append("relay \(reply.status)") }
    func becomeEventStream(_ session: BridgeSession, _ head: ClientResponseHead) { calls.append("event stream") }
    func becomePoll(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?) {
        calls.append("poll")
    }
    func becomeStream(_ session: BridgeSession, _ exchange: PostExchange, _ acceptance: HTTPReplyHead?) {
        calls.append("stream")
    }

    func becomeWebSocket(
        _ session: BridgeSession,
        _ head: SwitchingProtocols,
        deflate: NegotiatedDeflate?,
        isAccepted: Bool
    ) {
        calls.append("WebSocket")
    }
}
