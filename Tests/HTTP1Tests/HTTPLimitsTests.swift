import NIOCore
import TestSupport
import Testing

@testable import HTTP1

@Suite("HTTP limits")
struct HTTPLimitsTests {
    private static let start = "GET / HTTP/1.1\r\nHost: a\r\nX: "

    /// A request whose head has exactly so many bytes.
    private func request(headBytes: Int) -> [UInt8] {
        httpBytes(Self.start + String(repeating: "x", count: headBytes - Self.start.utf8.count - 4) + "\r\n\r\n")
    }

    @Test("A head of exactly the cap passes, one byte more is 431, blank lines before it don't count")
    func headCap() {
        let limits = HTTPLimits(maxHeadBytes: 64)
        for (count, error) in [(63, nil), (64, nil), (65, HTTPParseError.headTooLarge)] {
            let input = request(headBytes: count)
            #expect(requestTranscript(input, limits: limits).error == error)
            #expect(requestTranscript(httpBytes("\r\n") + input, limits: limits).error == error)
            #expect(httpDeliveriesThatDiffer(input.count) { requestTranscript(input, $0, limits: limits) } == [])
        }
        #expect(HTTPParseError.headTooLarge.status == 431)
    }

    @Test("A head is refused at the byte that reaches the cap unfinished")
    func headCapWhileIncomplete() throws {
        let input = request(headBytes: 65)
        for count in [62, 63, 64] {
            let transcript = requestTranscript(Array(input[..<count]), .eachByte, limits: HTTPLimits(maxHeadBytes: 64))
            #expect(transcript.error == (count < 64 ? nil : .headTooLarge))
        }
    }

    @Test("A request line that alone passes the cap is 414")
    func requestLineCap() {
        let limits = HTTPLimits(maxHeadBytes: 64)
        // Behind the target come 11 bytes of version and line end, before it 4 of method.
        for (count, error) in [
            (63, HTTPParseError.headTooLarge), (64, .headTooLarge), (65, .targetTooLong), (5000, .targetTooLong),
        ] {
            let target = "/" + String(repeating: "x", count: count - 16)
            let input = httpBytes("GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(requestTranscript(input, limits: limits).error == error)
            #expect(requestTranscript(input, .eachByte, limits: limits).error == error)
        }
        #expect(HTTPParseError.targetTooLong.status == 414)
    }

    @Test("So many header fields pass, one more is 431, in heads, trailers and replies")
    func headerCount() {
        let limits = HTTPLimits(maxHeaders: 10)
        for (count, error) in [(9, nil), (10, nil), (11, HTTPParseError.tooManyHeaders)] {
            let fields = { String(repeating: "X: y\r\n", count: $0) }
            let head = "POST / HTTP/1.1\r\nHost: a\r\n"
            #expect(requestTranscript(httpBytes(head + fields(count - 1) + "\r\n"), limits: limits).error == error)
            let body = "Transfer-Encoding: chunked\r\n\r\n0\r\n"
            #expect(requestTranscript(httpBytes(head + body + fields(count) + "\r\n"), limits: limits).error == error)
            let reply = replyTranscript(httpBytes("HTTP/1.1 204 N\r\n" + fields(count) + "\r\n"), limits: limits)
            #expect(reply.error?.sentence == error?.sentence)
        }
        #expect(HTTPParseError.tooManyHeaders.status == 431)
    }

    @Test("Trailers of exactly the cap pass, one byte more is refused")
    func trailerCap() {
        let limits = HTTPLimits(maxHeadBytes: 80)
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        for (count, error) in [(79, nil), (80, nil), (81, HTTPParseError.headTooLarge)] {
            let input = httpBytes(head + "X: " + String(repeating: "x", count: count - 7) + "\r\n\r\n")
            #expect(requestTranscript(input, limits: limits).error == error)
            #expect(requestTranscript(input, .eachByte, limits: limits).error == error)
        }
    }

    @Test("A method may have 32 bytes")
    func methodLength() {
        for (count, error) in [(31, nil), (32, nil), (33, HTTPParseError.methodTooLong)] {
            let method = String(repeating: "M", count: count)
            #expect(requestTranscript(httpBytes("\(method) / HTTP/1.1\r\nHost: a\r\n\r\n")).error == error)
        }
        #expect(HTTPParseError.methodTooLong.status == 501)
    }

    @Test("A Content-Length may reach the largest Int")
    func contentLength() {
        for (text, error) in [
            ("9223372036854775806", nil), ("9223372036854775807", nil),
            ("9223372036854775808", HTTPParseError.contentTooLarge), ("00000000000000000000000000001", nil),
        ] {
            let input = httpBytes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(text)\r\n\r\nx")
            #expect(requestTranscript(input).error == error)
        }
        #expect(HTTPParseError.contentTooLarge.status == 400)
    }

    @Test("A chunk size may have 15 digits, its extensions 256 bytes (abuse case 25)")
    func chunkSizeLine() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        for (count, error) in [(14, nil), (15, nil), (16, HTTPParseError.invalidChunkSize)] {
            for digit in ["0", "f"] {
                let size = String(repeating: digit, count: count)
                #expect(requestTranscript(httpBytes(head + size + "\r\n")).error == error)
            }
        }
        for (count, error) in [(255, nil), (256, nil), (257, HTTPParseError.invalidChunkExtension)] {
            let input = httpBytes(head + "1;" + String(repeating: "e", count: count - 1) + "\r\nx\r\n0\r\n\r\n")
            #expect(requestTranscript(input).error == error)
            #expect(requestTranscript(input, .eachByte).error == error)
        }
        let endless = httpBytes(head + "1;" + String(repeating: "e", count: 1 << 20))
        #expect(requestTranscript(endless).error == .invalidChunkExtension)
    }

    @Test("A body that is mostly chunk extensions is refused, one that carries as much data is not")
    func chunkExtensionExcess() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        // Each chunk has 101 bytes of extension and one of data: 100 too many.
        let thin = "1;" + String(repeating: "e", count: 100) + "\r\nx\r\n"
        for (count, error) in [(162, nil), (163, nil), (164, HTTPParseError.invalidChunkExtension)] {
            #expect(requestTranscript(httpBytes(head + String(repeating: thin, count: count))).error == error)
        }
        let fat = "65;" + String(repeating: "e", count: 100) + "\r\n" + String(repeating: "x", count: 101) + "\r\n"
        #expect(requestTranscript(httpBytes(head + String(repeating: fat, count: 2000))).error == nil)
    }

    @Test("A megabyte of header in single bytes stops at the cap with little buffered (abuse case 9)")
    func singleBytes() throws {
        let limits = HTTPLimits()
        var reader = HTTPRequestReader(limits: limits)
        var error: HTTPParseError?
        var sent = 0
        let start = httpBytes(Self.start)
        for index in 0..<(10 << 20) where error == nil {
            var input = ByteBuffer(bytes: [index < start.count ? start[index] : UInt8(ascii: "x")])
            reader.append(&input)
            sent += 1
            #expect(reader.bufferedBytes <= limits.maxHeadBytes)
            do throws(HTTPParseError) { _ = try reader.next() } catch let thrown { error = thrown }
        }
        #expect(error == .headTooLarge)
        #expect(sent == limits.maxHeadBytes)
        #expect(reader.bufferedBytes == 0)
    }

    @Test("Body bytes are handed out as they come and never gathered")
    func bodiesAreNotBuffered() throws {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10485760\r\n\r\n")
        reader.append(&input)
        guard case .head = try reader.next() else {
            Issue.record("the head is due")
            return
        }
        var received = 0
        for _ in 0..<160 {
            var piece = ByteBuffer(repeating: 0x78, count: 65536)
            reader.append(&piece)
            guard case .body(let bytes) = try reader.next() else { break }
            received += bytes.readableBytes
            #expect(reader.bufferedBytes == 0)
        }
        #expect(received == 10_485_760)
        guard case .end(nil) = try reader.next() else {
            Issue.record("the end is due")
            return
        }
    }
}
