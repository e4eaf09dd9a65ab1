import NIOCore
import TestSupport
import Testing

@testable import HTTP1

@Suite("HTTP request reader")
struct HTTPRequestReaderTests {
    @Test(
        "A body is one of at least one byte, or chunked",
        arguments: [
            ("", false), ("Content-Length: 0\r\n", false), ("Content-Length: 000\r\n", false),
            ("Content-Length: 1\r\n", true), ("Transfer-Encoding: chunked\r\n", true),
        ]
    )
    func bodies(field: String, hasBody: Bool) throws {
        var reader = HTTPRequestReader(limits: HTTPLimits(maxHeadBytes: 1024, maxHeaders: 10))
        var bytes = ByteBuffer(string: "GET /ws HTTP/1.1\r\nHost: a\r\n\(field)\r\nframes")
        reader.append(&bytes)
        guard case .head(let head) = try reader.next() else {
            Issue.record("there is no head")
            return
        }
        #expect(head.hasBody == hasBody)
        // What an upgrade hands on is all that follows the head.
        #expect(String(buffer: reader.takeRemaining()) == "frames")
    }

    @Test(
        "A valid request is read as it was meant, however its bytes arrive",
        arguments: [
            (
                "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
                ["GET / 1.1 origin none keep", "  Host: a.example", "end"]
            ),
            (
                "POST /a?b=c HTTP/1.1\r\nhost:a:80\r\ncontent-length: 5\r\n\r\nhello",
                ["POST /a?b=c 1.1 origin length(5) keep", "  host: a:80", "  content-length: 5", "body hello", "end"]
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
                [
                    "PUT / 1.1 origin length(0) keep", "  Host: a", "  Content-Length: 0", "  Expect: 100-continue",
                    "end",
                ]
            ),
            (
                "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\nhi",
                [
                    "PUT / 1.1 origin length(2) keep continue", "  Host: a", "  Content-Length: 2",
                    "  Expect: 100-Continue", "body hi", "end",
                ]
            ),
            (
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
                    + "5\r\nhello\r\n00A;ext=\"v\\\" ;\";b;c=d\r\n, world...\r\n0\r\nX-Sum: 1\r\n\r\n",
                [
                    "POST / 1.1 origin chunked keep", "  Host: a", "  Transfer-Encoding: Chunked",
                    "body hello, world...", "end with trailers", "  X-Sum: 1",
                ]
            ),
            ("GET / HTTP/1.0\r\n\r\n", ["GET / 1.0 origin none close", "end"]),
            (
                "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n",
                ["GET / 1.0 origin none keep", "  Connection: x, Keep-Alive", "end"]
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: CLOSE\r\n\r\n",
                [
                    "GET / 1.1 origin none close", "  Host: a", "  Connection: keep-alive", "  Connection: CLOSE",
                    "end",
                ]
            ),
            (
                "OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
                ["OPTIONS * 1.1 asterisk none keep", "  Host: [::1]:8080", "end"]
            ),
            (
                "CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n\r\n",
                ["CONNECT x.example:443 1.1 authority none keep", "  Host: x.example:443", "end"]
            ),
            (
                "GET http://169.254.169.254/meta?x HTTP/1.1\r\nHost: a\r\n\r\n",
                ["GET http://169.254.169.254/meta?x 1.1 absolute none keep", "  Host: a", "end"]
            ),
            (
                "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t a\tb \t \r\n\r\n",
                ["GET / 1.1 origin none keep", "  Host: a", "  X: ", "  Y: a\tb", "end"]
            ),
            (
                "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
                    + "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n",
                [
                    "GET /1 1.1 origin none keep", "  Host: a", "end", "POST /2 1.1 origin length(1) keep",
                    "  Host: a", "  Content-Length: 1", "body x", "end", "GET /3 1.1 origin none close",
                    "  Host: a", "  Connection: close", "end",
                ]
            ),
        ]
    )
    func validRequests(text: String, expected: [String]) {
        #expect(requestTranscript(httpBytes(text)).lines == expected)
        #expect(httpDeliveriesThatDiffer(text.utf8.count) { requestTranscript(httpBytes(text), $0) } == [])
    }

    @Test(
        "Odd targets keep the bytes that the client sent (abuse case 28)",
        arguments: [
            "/a%2f..%2fadmin", "//", "//evil.example/..", "/\\..\\x", "/|{}\"<>^`", "/a/./b//../c;d=e?f?g&%zz%00", "/%",
        ]
    )
    func rawTargets(target: String) {
        let text = "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(requestTranscript(httpBytes(text)).lines.first == "GET \(target) 1.1 origin none keep")
    }

    @Test("Trailers that decide about framing, routing or identity are dropped (abuse case 25)")
    func forbiddenTrailers() {
        let text = """
            POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r
            Host: evil\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nX-Forwarded-For: 1\r
            Forwarded: for=1\r\nX-Real-IP: 1\r\nCookie: a\r\nAuthorization: b\r\nSet-Cookie: c\r
            Sidesocket-User: 42\r\nCE-UserId: 42\r\nCe-Type: sidesocket.open\r\nWebhook-Id: 1\r\nServer-Timing: t\r
            Sec-WebSocket-Key: k\r\nIf-Match: *\r\nContent-Type: text/html\r\nContent-MD5: m\r\n\r\n
            """
        #expect(
            requestTranscript(httpBytes(text)).lines.suffix(3)
                == ["end with trailers", "  Server-Timing: t", "  Content-MD5: m"]
        )
        let onlyForbidden = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n"
        #expect(requestTranscript(httpBytes(onlyForbidden)).lines.last == "end")
    }

    @Test(
        "A trailer that an app could take for a reserved field is refused (abuse case 42)",
        arguments: ["Ce.Type", "ce_userid", "X~Forwarded~For", "Content_Length", "Sidesocket.User", "Sec_Fetch-Site"]
    )
    func imitatingTrailers(name: String) {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\(name): 1\r\n\r\n"
        #expect(requestTranscript(httpBytes(text)).error == .imitatingTrailer)
    }

    @Test("The bytes behind an upgrade request are handed over untouched")
    func bytesBehindUpgrade() throws {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n")
        input.writeBytes([0x81, 0x80, 1, 2, 3, 4])
        reader.append(&input)
        #expect(input.readableBytes == 0)
        guard case .head = try reader.next(), case .end(nil) = try reader.next() else {
            Issue.record("head and end are due")
            return
        }
        #expect(reader.bufferedBytes == 6)
        #expect(Array(reader.takeRemaining().readableBytesView) == [0x81, 0x80, 1, 2, 3, 4])
        #expect(reader.bufferedBytes == 0)
    }

    @Test("The reader is idle only between requests with nothing buffered")
    func idle() throws {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        #expect(reader.isIdle && !reader.hasStartedRequest)
        func feed(_ text: String) throws -> Int {
            var input = ByteBuffer(string: text)
            reader.append(&input)
            var parts = 0
            while try reader.next() != nil { parts += 1 }
            return parts
        }
        #expect(try feed("\r\n") == 0)
        #expect(reader.isIdle)
        #expect(try feed("G") == 0)
        #expect(!reader.isIdle && reader.hasStartedRequest)
        #expect(try feed("ET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n") == 1)
        #expect(!reader.isIdle && reader.hasStartedRequest)
        #expect(try feed("hi") == 2)
        #expect(reader.isIdle)
    }

    @Test("An error is thrown again at every later call and nothing more is buffered")
    func errorsLast() {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "GET / HTTP/1.1\n")
        reader.append(&input)
        #expect(throws: HTTPParseError.bareLineFeed) { try reader.next() }
        var more = ByteBuffer(string: "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        reader.append(&more)
        #expect(reader.bufferedBytes == 0 && more.readableBytes == 0 && !reader.isIdle)
        #expect(throws: HTTPParseError.bareLineFeed) { try reader.next() }
    }
}
