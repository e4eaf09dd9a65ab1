import NIOCore
import TestSupport
import Testing

@testable import HTTP1

@Suite("HTTP reply reader")
struct HTTPReplyReaderTests {
    @Test(
        "A valid reply is read as it was meant, however its bytes arrive",
        arguments: [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                ["final 200 [OK] 1.1 length(5) keep", "  Content-Length: 5", "body hello", "end"]
            ),
            (
                "HTTP/1.1 200\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                ["final 200 [] 1.1 length(0) close", "  Content-Length: 0", "  Connection: close", "end"]
            ),
            ("HTTP/1.1 404 \r\n\r\nbye", ["final 404 [] 1.1 untilClose close", "body bye", "end"]),
            ("HTTP/1.0 200 OK\r\n\r\n", ["final 200 [OK] 1.0 untilClose close", "end"]),
            (
                "HTTP/1.0 200 Très bien\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
                [
                    "final 200 [Très bien] 1.0 length(1) keep", "  Connection: keep-alive", "  Content-Length: 1",
                    "body x", "end",
                ]
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                [
                    "informational 100 [Continue] 1.1 none keep", "informational 103 [Early Hints] 1.1 none keep",
                    "  Link: x", "final 204 [No Content] 1.1 none keep", "end",
                ]
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\nHost: x\r\nA: b\r\n\r\n",
                [
                    "final 200 [OK] 1.1 chunked keep", "  Transfer-Encoding: chunked", "body abcd",
                    "end with trailers", "  A: b",
                ]
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n",
                ["final 304 [Not Modified] 1.1 none close", "  Content-Length: 1000", "end"]
            ),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", ["final 304 [Not Modified] 1.1 none keep", "end"]),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n\r\n",
                ["final 304 [Not Modified] 1.1 none keep", "  Content-Length: 0", "end"]
            ),
            (
                "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
                ["final 304 [Not Modified] 1.1 none close", "  Transfer-Encoding: chunked", "end"]
            ),
            (
                "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
                ["final 204 [No Content] 1.1 none close", "  Content-Length: 3", "end"]
            ),
        ]
    )
    func validReplies(text: String, expected: [String]) {
        #expect(replyTranscript(httpBytes(text)).lines == expected)
        #expect(httpDeliveriesThatDiffer(text.utf8.count) { replyTranscript(httpBytes(text), $0) } == [])
        #expect(replyTranscript(httpBytes(text), takesWhole: true).lines == expected)
        #expect(
            httpDeliveriesThatDiffer(text.utf8.count) { replyTranscript(httpBytes(text), $0, takesWhole: true) } == []
        )
    }

    @Test("A body is handed over whole only behind its head, and when all of it is here")
    func wholeBody() throws {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        #expect(reader.takeWholeBody() == nil)
        reader.expectReply(to: .other)
        #expect(reader.takeWholeBody() == nil)
        var input = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")
        reader.append(&input)
        #expect(reader.takeWholeBody() == nil)
        guard case .head = try reader.next() else {
            Issue.record("the head is due")
            return
        }
        #expect(reader.takeWholeBody() == nil)
        input = ByteBuffer(string: "cd")
        reader.append(&input)
        #expect(reader.takeWholeBody() == ByteBuffer(string: "abc"))
        // What is too much belongs to nobody.
        #expect(reader.bufferedBytes == 1 && reader.takeWholeBody() == nil)
        #expect(throws: HTTPParseError.unsolicitedReply) { try reader.next() }
    }

    @Test("A reply to HEAD and a 2xx to CONNECT have no body, whatever their fields say")
    func bodilessMethods() {
        let long = httpBytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        #expect(
            replyTranscript(long, to: .head).lines
                == ["final 200 [OK] 1.1 none close", "  Content-Length: 9", "end"]
        )
        let chunked = httpBytes("HTTP/1.1 404 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(replyTranscript(chunked, to: .head).error == nil)
        #expect(replyTranscript(chunked, to: .connect).error == .truncatedReply)
        #expect(replyTranscript(httpBytes("HTTP/1.1 200 OK\r\n\r\n"), to: .connect).lines.last == "end")
    }

    private static let refused: [(String, HTTPParseError)] = [
        ("garbage\r\n\r\n", .invalidStatusLine), ("\r\nHTTP/1.1 200 OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1\t200 OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 2000 OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/1.1 099 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 600 OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 200OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/1.1 200 O\rK\r\n\r\n", .invalidStatusLine), ("HTTP/1.1 200 O\0K\r\n\r\n", .invalidStatusLine),
        ("http/1.1 200 OK\r\n\r\n", .invalidStatusLine), ("ICY 200 OK\r\n\r\n", .invalidStatusLine),
        ("HTTP/2.0 200 OK\r\n\r\n", .unsupportedReplyVersion), ("HTTP/1.2 200 OK\r\n\r\n", .unsupportedReplyVersion),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", .unexpectedUpgrade),
        ("HTTP/1.1 200 OK\n\n", .bareLineFeed), ("HTTP/1.1 200 OK\r\nA: b\n\r\n", .bareLineFeed),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", .foldedHeader),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", .spaceBeforeColon),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", .invalidHeaderValue),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", .invalidHeaderValue),
        ("HTTP/1.1 200 OK\r\nA\r\n\r\n", .invalidHeaderName),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .conflictingFraming),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", .repeatedContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", .repeatedContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", .invalidContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", .contentTooLarge),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", .invalidTransferEncoding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz", .invalidChunkSize),
        ("HTTP/1.1 204 OK\r\n\r\nx", .unsolicitedReply), ("HTTP/1.1 304 OK\r\n\r\nx", .unsolicitedReply),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n", .unsolicitedReply),
        // Resets at any byte (abuse case 32).
        ("H", .truncatedReply), ("HTTP/1.1 200 OK\r\n", .truncatedReply), ("HTTP/1.1 100 C\r\n\r\n", .truncatedReply),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx", .truncatedReply),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", .truncatedReply),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", .truncatedReply),
    ]

    @Test("A malformed reply is refused as a bad gateway's, however its bytes arrive (abuse case 32)")
    func refusedReplies() {
        for (text, error) in Self.refused {
            let whole = replyTranscript(httpBytes(text))
            #expect(whole.error?.sentence == error.sentence, "\(text.debugDescription) said \(whole)")
            #expect(whole.error?.status == 502)
            #expect(replyTranscript(httpBytes(text), takesWhole: true) == whole)
            #expect(httpDeliveriesThatDiffer(text.utf8.count) { replyTranscript(httpBytes(text), $0) } == [])
        }
    }

    @Test("The end of the connection before any byte is no error and ends an open-ended body")
    func endOfInput() throws {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        #expect(try reader.endOfInput() == nil)
        reader.expectReply(to: .other)
        #expect(!reader.hasBegun)
        #expect(try reader.endOfInput() == nil)
        var input = ByteBuffer(string: "HTTP/1.1 200 OK\r\n\r\nabc")
        reader.append(&input)
        #expect(reader.hasBegun)
        // Even a caller that has not read yet gets everything in order.
        guard case .head = try reader.endOfInput(), case .body(let body) = try reader.endOfInput(),
            case .end(nil) = try reader.endOfInput()
        else {
            Issue.record("head, body and end are due")
            return
        }
        #expect(String(buffer: body) == "abc")
        #expect(try reader.endOfInput() == nil)
        #expect(reader.hasBegun)
    }

    @Test("A connection carries one reply after the other")
    func keepAlive() throws {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        for _ in 0..<3 {
            reader.expectReply(to: .other)
            #expect(!reader.hasBegun)
            var input = ByteBuffer(string: "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
            reader.append(&input)
            var parts = 0
            while let part = try reader.next() {
                parts += 1
                if case .end = part { break }
            }
            #expect(parts == 4 && reader.bufferedBytes == 0)
        }
    }

    @Test("Bytes that came before a request are never taken for its reply")
    func unsolicited() {
        var early = HTTPReplyReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        early.append(&input)
        early.expectReply(to: .other)
        #expect(throws: HTTPParseError.unsolicitedReply) { try early.next() }

        var twice = HTTPReplyReader(limits: HTTPLimits())
        twice.expectReply(to: .other)
        twice.expectReply(to: .other)
        #expect(throws: HTTPParseError.unsolicitedReply) { try twice.next() }
    }

    @Test("Endless informational replies end at the limit (abuse case 32)", arguments: [1, 16])
    func endlessInformational(limit: Int) {
        for (count, passes) in [(limit - 1, true), (limit, true), (limit + 1, false)] {
            var reader = HTTPReplyReader(limits: HTTPLimits(), maxInformational: limit)
            reader.expectReply(to: .other)
            var input = ByteBuffer(string: String(repeating: "HTTP/1.1 103 H\r\n\r\n", count: count))
            input.writeString("HTTP/1.1 204 N\r\n\r\n")
            reader.append(&input)
            var error: HTTPParseError?
            do throws(HTTPParseError) { while try reader.next() != nil {} } catch let thrown { error = thrown }
            #expect(error == (passes ? nil : .tooManyInformational))
        }
    }
}
