import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("A client of HTTP/1.x")
struct EdgeHTTPHandlerTests {
    private let get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test("Requests follow each other on one connection, also those sent ahead")
    func keepAlive() throws {
        let rig = try EdgeRig()
        try rig.clientSends(get + get)
        for _ in 0..<2 {
            let request = try rig.appReceived()
            #expect(request.hasPrefix("GET /x HTTP/1.1\r\n"))
            #expect(request.components(of: "\r\n\r\n") == 2)
            try rig.appSends("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            let response = try rig.clientReceived()
            #expect(response == "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        }
        #expect(rig.client.isActive && !rig.handler.isBusy)
    }

    @Test("A body of unknown length is chunked, with its trailers")
    func chunked() throws {
        let rig = try EdgeRig()
        try rig.clientSends(get)
        try rig.appSends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try rig.appSends("2\r\nhi\r\n")
        try rig.appSends("0\r\nX-Sum: 1\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(
            response == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        #expect(rig.client.isActive)
    }

    @Test("To an HTTP/1.0 client its end delimits such a body, and no interim answer goes there")
    func oldClient() throws {
        let rig = try EdgeRig()
        try rig.clientSends("GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        try rig.appSends("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        try rig.appSends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi")
        #expect(!rig.client.isActive)
    }

    @Test("An interim answer goes before the response")
    func interim() throws {
        let rig = try EdgeRig()
        try rig.clientSends(get)
        try rig.appSends("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        let hints = try rig.clientReceived()
        #expect(hints == "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        try rig.appSends("HTTP/1.1 204 No Content\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 204 No Content\r\n\r\n")
    }

    @Test("HEAD gets no body, of the app or of ours")
    func head() throws {
        let rig = try EdgeRig()
        try rig.clientSends("HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n")
        try rig.appSends("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        try rig.clientSends("HEAD /x HTTP/1.1\r\nHost: a\r\nCe-Type: sidesocket.open\r\n\r\n")
        let refusal = try rig.clientReceived()
        #expect(refusal.hasPrefix("HTTP/1.1 4") && refusal.hasSuffix("\r\nConnection: close\r\n\r\n"))
        #expect(!rig.client.isActive)
    }

    @Test("A body goes to the app as it comes, and one that is answered early makes its connection the last")
    func earlyResponse() throws {
        let rig = try EdgeRig()
        try rig.clientSends("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
        let request = try rig.appReceived()
        #expect(request.hasSuffix("Content-Length: 5\r\n\r\nab"))
        try rig.appSends("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        #expect(!rig.client.isActive)
    }

    @Test("A chunked body stays one, with its trailers")
    func chunkedRequest() throws {
        let rig = try EdgeRig()
        try rig.clientSends("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        try rig.clientSends("3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        let request = try rig.appReceived()
        #expect(request.hasSuffix("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"))
    }

    @Test("A body that may be an event is asked for, and reaches the app when it is whole")
    func inspected() throws {
        let rig = try EdgeRig()
        try rig.clientSends(
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/cloudevents+json\r\n"
                + "Expect: 100-continue\r\nContent-Length: 12\r\n\r\n"
        )
        let interim = try rig.clientReceived()
        #expect(interim == "HTTP/1.1 100 Continue\r\n\r\n")
        try rig.clientSends(#"{"type""#)
        let nothing = try rig.appReceived()
        #expect(nothing.isEmpty)
        try rig.clientSends(#":"x"}"#)
        let request = try rig.appReceived()
        #expect(request.hasSuffix("\r\n\r\n" + #"{"type":"x"}"#))
        try rig.appSends("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    }

    @Test("What is no request is refused, and the connection closes")
    func malformed() throws {
        let rig = try EdgeRig()
        try rig.clientSends("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        let refusal = try rig.clientReceived()
        #expect(refusal.hasPrefix("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"))
        #expect(refusal.contains("\r\nConnection: close\r\n\r\n") && refusal.hasSuffix(".\n"))
        #expect(!rig.client.isActive)
    }

    @Test("An app that goes before it answers is a 502, and one that goes amid an answer leaves half of it")
    func appGoes() throws {
        let early = try EdgeRig()
        try early.clientSends(get)
        early.app.close(promise: nil)
        let refusal = try early.clientReceived()
        #expect(refusal.hasPrefix("HTTP/1.1 502 Bad Gateway\r\n") && refusal.hasSuffix("response is invalid.\n"))
        let late = try EdgeRig()
        try late.clientSends(get)
        try late.appSends("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        late.app.close(promise: nil)
        let half = try late.clientReceived()
        #expect(half == "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        #expect(!late.client.isActive)
    }

    @Test("While the process ends, the response in flight is the last one")
    func draining() throws {
        let rig = try EdgeRig()
        try rig.clientSends(get)
        rig.handler.drain()
        #expect(rig.client.isActive)
        try rig.appSends("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        let response = try rig.clientReceived()
        #expect(response == "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        #expect(!rig.client.isActive)
    }

    // MARK: Handshakes

    private let handshake =
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    @Test("An accepted handshake is a 101 with the app's fields")
    func webSocket() throws {
        let rig = try EdgeRig()
        try rig.clientSends(handshake + "\r\n")
        let event = try rig.appReceived()
        #expect(event.hasPrefix("POST "))
        try rig.appSends("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(
            response == "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSet-Cookie: a=1\r\n\r\n"
        )
    }

    @Test("A refusal by the app is relayed, and a subprotocol that was not offered is a 502")
    func refusedHandshakes() throws {
        let refused = try EdgeRig()
        try refused.clientSends(handshake + "\r\n")
        try refused.appSends("HTTP/1.1 403 Forbidden\r\nContent-Type: text/x\r\nContent-Length: 2\r\n\r\nno")
        let relayed = try refused.clientReceived()
        #expect(
            relayed == "HTTP/1.1 403 Forbidden\r\nContent-Type: text/x\r\nContent-Length: 2\r\n"
                + "Connection: close\r\n\r\nno"
        )
        let misled = try EdgeRig()
        try misled.clientSends(handshake + "Sec-WebSocket-Protocol: v2\r\n\r\n")
        try misled.appSends("HTTP/1.1 200 OK\r\nSec-WebSocket-Protocol: chat\r\nContent-Length: 0\r\n\r\n")
        let refusal = try misled.clientReceived()
        #expect(refusal.hasPrefix("HTTP/1.1 502 Bad Gateway\r\n"))
    }

    @Test("An accepted event stream begins with its head and a comment")
    func eventStream() throws {
        let rig = try EdgeRig(["SSE_PATHS": "/events"])
        try rig.clientSends("GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        let open = try rig.appReceived()
        #expect(open.contains("\r\nce-transport: sse\r\n"))
        try rig.appSends("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n")
        let response = try rig.clientReceived()
        #expect(
            response.hasPrefix(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
                    + "X-Accel-Buffering: no\r\nConnection: close\r\nSet-Cookie: a=1\r\n\r\n:"
            )
        )
        #expect(rig.shard.state.sessions == 1 && rig.shard.state.sessions(on: .eventStream) == 1)
    }
}

extension String {
    /// How many parts it has between such separators.
    fileprivate func components(of separator: String) -> Int {
        split(separator: separator, omittingEmptySubsequences: false).count
    }
}
