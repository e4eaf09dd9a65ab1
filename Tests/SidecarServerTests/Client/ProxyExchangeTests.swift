import HTTP1
import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("A passed request and its client")
struct ProxyExchangeTests {
    private func exchange(_ rig: EdgeRig, _ client: FakeClient) throws -> ProxyExchange {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var bytes = ByteBuffer(string: "GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        reader.append(&bytes)
        guard case .head(let head)? = try reader.next() else { throw NoHead() }
        return ProxyExchange(
            head: head,
            target: "/x",
            from: ClientIdentity(address: "192.0.2.1", scheme: "http"),
            client: client,
            loop: rig.shard.clients
        )
    }

    private struct NoHead: Error {}

    private func parts(_ text: String) throws -> [HTTPReplyPart] {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        reader.expectReply(to: .other)
        var bytes = ByteBuffer(string: text)
        reader.append(&bytes)
        var parts: [HTTPReplyPart] = []
        while let part = try reader.next() { parts.append(part) }
        return parts
    }

    @Test("An answer of the app is a response of the client's, whatever version frames it")
    func response() throws {
        let (rig, client) = (try EdgeRig(), FakeClient())
        let exchange = try exchange(rig, client)
        for part in try parts(
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
        ) {
            exchange.appReplied(part)
        }
        #expect(client.calls == ["interim 103", "respond 200 unknown", "send hi", "end with trailers"])
    }

    @Test("A client that has gone hears nothing more")
    func gone() throws {
        let (rig, client) = (try EdgeRig(), FakeClient())
        let exchange = try exchange(rig, client)
        let parts = try parts("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        exchange.appReplied(parts[0])
        #expect(client.takeNotes() == ["respond 200 announced"])
        exchange.clientGone()
        for part in parts.dropFirst() { exchange.appReplied(part) }
        exchange.appFailed(.timeout, wasStale: false)
        #expect(client.calls.isEmpty && exchange.isCancelled)
    }

    @Test("Without an answer the client is refused; half of one ends without its end")
    func failures() throws {
        let rig = try EdgeRig()
        let early = FakeClient()
        let unanswered = try exchange(rig, early)
        unanswered.appFailed(.timeout, wasStale: false)
        #expect(early.calls == ["refuse 504"])
        let late = FakeClient()
        let halved = try exchange(rig, late)
        for part in try parts("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi") { halved.appReplied(part) }
        halved.appFailed(.connectionLost, wasStale: false)
        #expect(late.calls == ["respond 200 announced", "send hi", "flush", "abort"])
    }
}
