import HTTP1
import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("Responses to clients of HTTP/1.x")
struct HTTPResponseWriterTests {
    private struct Written {
        let framing: HTTPResponseWriter.Framing
        let keepsAlive: Bool
        let lines: [String]
    }

    private func written(
        _ lines: String...,
        to method: String = "GET",
        minor: Int = 1,
        asksFor connection: String = "keep-alive",
        isLast: Bool = false
    ) throws -> Written {
        var writer = HTTPResponseWriter(
            to: try Heads.request("\(method) / HTTP/1.\(minor)", "Host: x", "Connection: \(connection)")
        )
        var buffer = ByteBuffer()
        let reply = try Heads.reply(lines: lines, to: method == "HEAD" ? .head : .other)
        writer.write(.response(reply), isLast: isLast, into: &buffer)
        return Written(framing: writer.framing, keepsAlive: writer.keepsAlive, lines: Heads.lines(buffer))
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
        let trailer = "Trailer: X-Sum"
        for reply in [
            try written("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", trailer),
            try written("HTTP/1.1 200 OK", trailer),
        ] {
            #expect(reply.framing == .chunked && reply.keepsAlive)
            #expect(reply.lines == ["HTTP/1.1 200 OK", "Trailer: X-Sum", "Transfer-Encoding: chunked", "", ""])
        }
        for reply in [
            try written("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", trailer, minor: 0),
            try written("HTTP/1.1 200 OK", trailer, minor: 0),
        ] {
            #expect(reply.framing == .untilClose && !reply.keepsAlive)
            #expect(reply.lines == ["HTTP/1.1 200 OK", "Connection: close", "", ""])
        }
    }

    @Test("A body of known length has no trailers to announce")
    func trailerOfKnownLength() throws {
        let reply = try written("HTTP/1.1 200 OK", "Content-Length: 1", "Trailer: X-Sum")
        #expect(reply.lines == ["HTTP/1.1 200 OK", "Content-Length: 1", "", ""])
    }

    @Test("Whether the connection goes on is said as each version of HTTP needs it")
    func keepAlive() throws {
        let ok = ["HTTP/1.1 200 OK", "Content-Length: 0"]
        for (minor, connection, isLast, expected) in [
            (1, "keep-alive", false, []), (1, "x", false, []), (1, "keep-alive", true, ["Connection: close"]),
            (1, "close", false, ["Connection: close"]), (0, "keep-alive", false, ["Connection: keep-alive"]),
            (0, "x", false, ["Connection: close"]), (0, "keep-alive", true, ["Connection: close"]),
        ] as [(Int, String, Bool, [String])] {
            let reply = try written(ok[0], ok[1], minor: minor, asksFor: connection, isLast: isLast)
            #expect(reply.lines == ok + expected + ["", ""], "\(minor) \(connection) \(isLast)")
            #expect(reply.keepsAlive == (expected != ["Connection: close"]), "\(minor) \(connection) \(isLast)")
        }
    }

    @Test("A connection that is to close closes whatever the client asked")
    func closing() throws {
        var writer = HTTPResponseWriter(to: try Heads.request("GET / HTTP/1.1", "Host: x"))
        writer.close()
        var buffer = ByteBuffer()
        let reply = try Heads.reply("HTTP/1.1 200 OK", "Content-Length: 0")
        writer.write(.response(reply), isLast: false, into: &buffer)
        #expect(!writer.keepsAlive && Heads.lines(buffer).contains("Connection: close"))
    }

    @Test("Replies to HEAD and 304 keep the length that they tell about, a 204 has none")
    func bodiless() throws {
        let head = try written("HTTP/1.1 200 OK", "Content-Length: 500", to: "HEAD")
        #expect(head.framing == .none && head.lines.contains("Content-Length: 500"))
        let notModified = try written("HTTP/1.1 304 Not Modified", "Content-Length: 500")
        #expect(notModified.framing == .none && notModified.lines.contains("Content-Length: 500"))
        let noContent = try written("HTTP/1.1 204 No Content", "Content-Length: 0")
        #expect(noContent.framing == .none && noContent.lines == ["HTTP/1.1 204 No Content", "", ""])
        let chunkedHead = try written("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", to: "HEAD")
        #expect(chunkedHead.framing == .none && chunkedHead.lines == ["HTTP/1.1 200 OK", "", ""])
    }

    @Test("A status line without a reason, or with one beyond ASCII, stays one line")
    func reasons() throws {
        #expect(try written("HTTP/1.1 599 ", "Content-Length: 0").lines.first == "HTTP/1.1 599 ")
        #expect(try written("HTTP/1.0 200", "Content-Length: 0").lines.first == "HTTP/1.1 200 ")
        #expect(try written("HTTP/1.1 200 Çà", "Content-Length: 0").lines.first == "HTTP/1.1 200 Çà")
    }

    @Test("An interim answer has no body, framing or fields of one hop, and none goes to an HTTP/1.0 client")
    func interim() throws {
        var buffer = ByteBuffer()
        let head = ClientResponseHead.interim(
            try Heads.reply(
                "HTTP/1.1 103 Early Hints",
                "Link: </a.css>; rel=preload",
                "Connection: X-Hop",
                "x-hop: 1",
                "Content-Length: 5",
                "Content-Security-Policy: default-src 'self'"
            )
        )
        let old = HTTPResponseWriter(to: try Heads.request("GET / HTTP/1.0", "Host: x"))
        let wroteToOld = old.writeInterim(head, into: &buffer)
        #expect(!wroteToOld && buffer.readableBytes == 0)
        let new = HTTPResponseWriter(to: try Heads.request("GET / HTTP/1.1", "Host: x"))
        let wroteToNew = new.writeInterim(head, into: &buffer)
        #expect(wroteToNew)
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
        var writer = HTTPResponseWriter(to: try Heads.request("GET / HTTP/1.1", "Host: x"))
        writer.writeRelayed(
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
        writer.writeRelayed(
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
        var writer = HTTPResponseWriter()
        writer.write(refusal, into: &buffer)
        let lines = replyTranscript(Array(buffer.readableBytesView), endOfInput: false).lines
        #expect(lines.first?.hasPrefix("final \(status) [") == true && lines.first?.hasSuffix(" close") == true)
        #expect(lines.first?.contains("[Error]") == false)
        #expect(lines.contains("  Retry-After: 7"))
        #expect(lines.suffix(2) == ["body Ein Grund für alle.\n", "end"])
        #expect(lines.contains("  Sec-WebSocket-Version: 13") == (status == 426))
        #expect(lines.contains { $0.hasPrefix("  Allow: ") } == (status == 405))
        let wholeBytes = buffer.readableBytes
        buffer.clear()
        var writerToHead = HTTPResponseWriter(to: try Heads.request("HEAD / HTTP/1.1", "Host: x"))
        writerToHead.write(refusal, into: &buffer)
        #expect(buffer.readableBytes == wholeBytes - "Ein Grund für alle.\n".utf8.count)
    }

    @Test("A refusal with a status that nobody knows is still an answer")
    func oddRefusal() {
        var buffer = ByteBuffer()
        var writer = HTTPResponseWriter()
        writer.write(Refusal(status: -1, sentence: "", reason: .badRequest), into: &buffer)
        #expect(Heads.lines(buffer).first == "HTTP/1.1 0 Error")
    }

    @Test("A refusal is written to the byte, with the fields of its status, its own, and when to come again")
    func refusalBytes() {
        var buffer = ByteBuffer()
        var writer = HTTPResponseWriter()
        let fields = [ResponseField("RateLimit", "\"x\";r=0;t=3")]
        writer.write(
            Refusal(status: 426, sentence: "No.", reason: .badRequest, retryAfter: 3, fields: fields),
            into: &buffer
        )
        #expect(
            String(buffer: buffer)
                == "HTTP/1.1 426 Upgrade Required\r\nContent-Type: text/plain; charset=utf-8\r\n"
                + "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nRateLimit: \"x\";r=0;t=3\r\nRetry-After: 3\r\n"
                + "Content-Length: 4\r\nConnection: close\r\n\r\nNo.\n"
        )
    }

    @Test("An event stream ends with the connection, and its head has no field of the app that contradicts ours")
    func eventStream() throws {
        let reply = try Heads.reply(
            "HTTP/1.1 204 No Content",
            "Set-Cookie: a=1",
            "Cache-Control: public",
            "X-Accel-Buffering: yes",
            "Access-Control-Allow-Origin: *",
            "Sec-WebSocket-Protocol: x",
            "Content-Type: text/html",
            "Sidesocket-User: 42",
            "Connection: X-Hop",
            "X-Hop: 1"
        )
        for minor in 0...1 {
            var buffer = ByteBuffer()
            var writer = HTTPResponseWriter(to: try Heads.request("GET / HTTP/1.\(minor)", "Host: x"))
            writer.write(.eventStream(reply, origin: "https://a.example"), isLast: true, into: &buffer)
            #expect(writer.framing == .untilClose && !writer.keepsAlive)
            #expect(
                Heads.lines(buffer) == [
                    "HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Cache-Control: no-store",
                    "X-Accel-Buffering: no", "Connection: close", "Access-Control-Allow-Origin: https://a.example",
                    "Access-Control-Allow-Credentials: true", "Vary: Origin", "Set-Cookie: a=1", "", "",
                ]
            )
            buffer.clear()
            writer.write(.eventStream(reply, origin: nil), isLast: true, into: &buffer)
            #expect(
                Heads.lines(buffer) == [
                    "HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Cache-Control: no-store",
                    "X-Accel-Buffering: no", "Connection: close", "Set-Cookie: a=1", "", "",
                ]
            )
        }
    }

    @Test("The body is framed as the head has said, and one that must not be is left out")
    func bodies() throws {
        for (method, minor, fields, expected) in [
            ("GET", 1, ["Content-Length: 2"], "ab"), ("GET", 1, [], "2\r\nab\r\n0\r\n\r\n"), ("GET", 0, [], "ab"),
            ("HEAD", 1, ["Content-Length: 2"], ""), ("HEAD", 1, ["Transfer-Encoding: chunked"], ""),
        ] as [(String, Int, [String], String)] {
            var writer = HTTPResponseWriter(to: try Heads.request("\(method) / HTTP/1.\(minor)", "Host: x"))
            let reply = try Heads.reply(lines: ["HTTP/1.1 200 OK"] + fields, to: method == "HEAD" ? .head : .other)
            var buffer = ByteBuffer()
            writer.write(.response(reply), isLast: false, into: &buffer)
            buffer.clear()
            writer.frame(ByteBuffer(string: "ab")) { bytes, rest in
                buffer.writeImmutableBuffer(bytes)
                if let rest { buffer.writeImmutableBuffer(rest) }
            }
            writer.frameEnd(nil) { bytes, _ in buffer.writeImmutableBuffer(bytes) }
            #expect(String(buffer: buffer) == expected, "\(method) 1.\(minor) \(fields)")
        }
    }
}
