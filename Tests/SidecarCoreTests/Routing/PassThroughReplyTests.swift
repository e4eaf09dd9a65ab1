import HTTP1
import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("Pass-through: the reply to the client")
struct PassThroughReplyTests {
    private func written(
        _ lines: String...,
        to method: HTTPMethodKind = .other,
        minor: Int = 1,
        keepAlive: Bool = true
    ) throws -> (framing: PassThroughHeads.ClientFraming, lines: [String]) {
        var buffer = ByteBuffer()
        let framing = PassThroughHeads.writeReply(
            try Heads.reply(lines: lines, to: method),
            clientMinorVersion: minor,
            keepAlive: keepAlive,
            into: &buffer
        )
        return (framing, Heads.lines(buffer))
    }

    @Test("A reply with a length keeps it and its fields, but for those of one hop")
    func length() throws {
        let reply = try written(
            "HTTP/1.1 201 Very Created",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "Keep-Alive: timeout=5",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "Content-Length: 3",
            "Sidesocket-User: 42",
            "Proxy-Authenticate: Basic"
        )
        #expect(reply.framing == .length)
        #expect(
            reply.lines == [
                "HTTP/1.1 201 Very Created", "Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Length: 3",
                "", "",
            ]
        )
    }

    @Test("A body of unknown length goes out in chunks, and to an HTTP/1.0 client until the end of the connection")
    func unknownLength() throws {
        for fields in [["Transfer-Encoding: chunked", "Trailer: X-Sum"], ["Trailer: X-Sum"]] {
            let head = try Heads.reply(lines: ["HTTP/1.1 200 OK"] + fields)
            var buffer = ByteBuffer()
            #expect(
                PassThroughHeads.writeReply(head, clientMinorVersion: 1, keepAlive: true, into: &buffer) == .chunked
            )
            #expect(
                Heads.lines(buffer) == ["HTTP/1.1 200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked", "", ""]
            )
            buffer.clear()
            #expect(
                PassThroughHeads.writeReply(head, clientMinorVersion: 0, keepAlive: true, into: &buffer) == .untilClose
            )
            #expect(Heads.lines(buffer) == ["HTTP/1.1 200 OK", "Connection: close", "", ""])
        }
    }

    @Test("Whether the connection goes on is said as each version of HTTP needs it")
    func keepAlive() throws {
        let ok = ("HTTP/1.1 200 OK", "Content-Length: 0")
        #expect(try written(ok.0, ok.1, minor: 1, keepAlive: true).lines == [ok.0, ok.1, "", ""])
        #expect(try written(ok.0, ok.1, minor: 1, keepAlive: false).lines == [ok.0, ok.1, "Connection: close", "", ""])
        #expect(
            try written(ok.0, ok.1, minor: 0, keepAlive: true).lines == [ok.0, ok.1, "Connection: keep-alive", "", ""]
        )
        #expect(try written(ok.0, ok.1, minor: 0, keepAlive: false).lines == [ok.0, ok.1, "Connection: close", "", ""])
    }

    @Test("Replies to HEAD and 304 keep the length that they tell about, a 204 has none")
    func bodiless() throws {
        let head = try written("HTTP/1.1 200 OK", "Content-Length: 500", to: .head)
        #expect(head.framing == .none && head.lines.contains("Content-Length: 500"))
        let notModified = try written("HTTP/1.1 304 Not Modified", "Content-Length: 500")
        #expect(notModified.framing == .none && notModified.lines.contains("Content-Length: 500"))
        let noContent = try written("HTTP/1.1 204 No Content", "Content-Length: 0")
        #expect(noContent.framing == .none && noContent.lines == ["HTTP/1.1 204 No Content", "", ""])
        let chunkedHead = try written("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", to: .head)
        #expect(chunkedHead.framing == .none && chunkedHead.lines == ["HTTP/1.1 200 OK", "", ""])
    }

    @Test("A status line without a reason, or with one beyond ASCII, stays one line")
    func reasons() throws {
        #expect(try written("HTTP/1.1 599 ", "Content-Length: 0").lines.first == "HTTP/1.1 599 ")
        #expect(try written("HTTP/1.0 200", "Content-Length: 0").lines.first == "HTTP/1.1 200 ")
        #expect(try written("HTTP/1.1 200 Çà", "Content-Length: 0").lines.first == "HTTP/1.1 200 Çà")
    }

    @Test("An interim answer is passed on without body, framing and fields of one hop")
    func interim() throws {
        var buffer = ByteBuffer()
        PassThroughHeads.writeInterim(
            try Heads.reply(
                "HTTP/1.1 103 Early Hints",
                "Link: </a.css>; rel=preload",
                "Connection: X-Hop",
                "x-hop: 1",
                "Content-Length: 5",
                "Content-Security-Policy: default-src 'self'"
            ),
            into: &buffer
        )
        #expect(
            Heads.lines(buffer) == [
                "HTTP/1.1 103 Early Hints", "Link: </a.css>; rel=preload",
                "Content-Security-Policy: default-src 'self'", "", "",
            ]
        )
    }

    @Test("A refusal by the app is relayed whole, with the length of what is sent and as the last answer")
    func relayed() throws {
        var buffer = ByteBuffer()
        PassThroughHeads.writeRelayed(
            try Heads.reply(
                "HTTP/1.1 403 Forbidden",
                "Content-Type: text/html",
                "Content-Length: 100000",
                "Set-Cookie: a=1",
                "Connection: X-Hop",
                "X-Hop: 1",
                "Sidesocket-Close: 4000",
                "WWW-Authenticate: Bearer"
            ),
            body: ByteBuffer(string: "<p>no"),
            into: &buffer
        )
        #expect(
            String(buffer: buffer)
                == "HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\nSet-Cookie: a=1\r\nWWW-Authenticate: Bearer\r\n"
                + "Content-Length: 5\r\nConnection: close\r\n\r\n<p>no"
        )
        buffer.clear()
        PassThroughHeads.writeRelayed(
            try Heads.reply("HTTP/1.1 302 Found", "Transfer-Encoding: chunked", "Location: http://169.254.169.254/"),
            body: ByteBuffer(),
            into: &buffer
        )
        #expect(
            String(buffer: buffer)
                == "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n"
                + "Connection: close\r\n\r\n"
        )
    }

    @Test(
        "A refusal of our own is one whole answer, says why in a sentence and closes",
        arguments: [400, 403, 404, 405, 408, 413, 414, 426, 429, 431, 500, 501, 502, 503, 504, 505]
    )
    func refusals(status: Int) throws {
        var buffer = ByteBuffer()
        let refusal = Refusal(status: status, sentence: "Ein Grund für alle.", reason: .badRequest, retryAfter: 7)
        PassThroughHeads.writeRefusal(refusal, headOnly: false, into: &buffer)
        let lines = replyTranscript(Array(buffer.readableBytesView), endOfInput: false).lines
        #expect(lines.first?.hasPrefix("final \(status) [") == true && lines.first?.hasSuffix(" close") == true)
        #expect(lines.first?.contains("[Error]") == false)
        #expect(lines.contains("  Retry-After: 7"))
        #expect(lines.suffix(2) == ["body Ein Grund für alle.\n", "end"])
        #expect(lines.contains("  Sec-WebSocket-Version: 13") == (status == 426))
        #expect(lines.contains { $0.hasPrefix("  Allow: ") } == (status == 405))
        let wholeBytes = buffer.readableBytes
        buffer.clear()
        PassThroughHeads.writeRefusal(refusal, headOnly: true, into: &buffer)
        #expect(buffer.readableBytes == wholeBytes - "Ein Grund für alle.\n".utf8.count)
    }

    @Test("A refusal with a status that nobody knows is still an answer")
    func oddRefusal() {
        var buffer = ByteBuffer()
        PassThroughHeads.writeRefusal(
            Refusal(status: -1, sentence: "", reason: .badRequest),
            headOnly: false,
            into: &buffer
        )
        #expect(Heads.lines(buffer).first == "HTTP/1.1 0 Error")
    }
}
