import TestSupport
import Testing

@testable import HTTP1

@Suite("HTTP request strictness")
struct HTTPRequestStrictnessTests {
    private static let post = "POST / HTTP/1.1\r\nHost: a\r\n"
    private static let chunked = post + "Transfer-Encoding: chunked\r\n\r\n"

    private static let refused: [(String, HTTPParseError)] = [
        // Framing (abuse case 24).
        (post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .conflictingFraming),
        (post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", .conflictingFraming),
        (post + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello", .conflictingFraming),
        (post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", .repeatedContentLength),
        (post + "Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello", .repeatedContentLength),
        (post + "Content-Length: 5, 5\r\n\r\nhello", .invalidContentLength),
        (post + "Content-Length: +1\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: -1\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: 0x1\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: 1 1\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: 1_0\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: ١\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length:\r\n\r\nh", .invalidContentLength),
        (post + "Content-Length: 9223372036854775808\r\n\r\n", .contentTooLarge),
        (post + "Content-Length: 18446744073709551617\r\n\r\nh", .contentTooLarge),
        (post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", .unknownTransferCoding),
        (post + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n", .unknownTransferCoding),
        (post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: gzip\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: identity\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: \u{0B}chunked\r\n\r\n0\r\n\r\n", .invalidHeaderValue),
        (post + "Transfer-Encoding:\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .invalidTransferEncoding),
        (post + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", .invalidTransferEncoding),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", .transferEncodingInHTTP10),
        // Lines (abuse case 24).
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineFeed),
        (post + "X: a\nY: b\r\n\r\n", .bareLineFeed),
        (post + "X: a\rY: b\r\n\r\n", .invalidHeaderValue),
        (post + "X: a\r\r\n\r\n", .invalidHeaderValue),
        (post + "X: a\0b\r\n\r\n", .invalidHeaderValue),
        (post + "X: 0123456789abcde\u{7F}\r\n\r\n", .invalidHeaderValue),
        (post + "X: 0123456789\u{1B}bcdef\r\n\r\n", .invalidHeaderValue),
        (post + "X: a\r\n b\r\n\r\n", .foldedHeader),
        (post + "X: a\r\n\tb\r\n\r\n", .foldedHeader),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .foldedHeader),
        (post + "Content-Length : 5\r\n\r\nhello", .spaceBeforeColon),
        (post + "Content-Length\t: 5\r\n\r\nhello", .spaceBeforeColon),
        (post + ": a\r\n\r\n", .invalidHeaderName),
        (post + "X\r\n\r\n", .invalidHeaderName),
        (post + "X\0: a\r\n\r\n", .invalidHeaderName),
        (post + "X(: a\r\n\r\n", .invalidHeaderName),
        (post + "Ä: a\r\n\r\n", .invalidHeaderName),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .strayBytesBeforeRequest),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", .strayBytesBeforeRequest),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
        // The request line.
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidMethod),
        ("GET\r\n\r\n", .invalidMethod),
        ("\u{16}\u{03}\u{01}", .invalidMethod),
        (String(repeating: "M", count: 33) + " / HTTP/1.1\r\nHost: a\r\n\r\n", .methodTooLong),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /a\u{7F} HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /ä HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET 1http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .invalidTarget),
        ("GET /\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / \r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / HTTP/1.1x\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / HTTP/11\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", .invalidRequestLine),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .unsupportedVersion),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .unsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", .unsupportedVersion),
        // Host (abuse case 1).
        ("GET / HTTP/1.1\r\n\r\n", .missingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", .repeatedHost),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", .repeatedHost),
    ]

    @Test("A request that two readers could take differently is refused, however its bytes arrive")
    func refusedRequests() {
        for (text, error) in Self.refused {
            let whole = requestTranscript(httpBytes(text))
            #expect(whole.error == error, "\(text.debugDescription) said \(whole)")
            #expect(whole.lines.count == 1, "\(text.debugDescription) let a head through")
            #expect(httpDeliveriesThatDiffer(text.utf8.count) { requestTranscript(httpBytes(text), $0) } == [])
        }
    }

    @Test(
        "A chunked body that is not exactly so is refused (abuse cases 24 and 25)",
        arguments: [
            ("\r\n", HTTPParseError.invalidChunkSize), ("g\r\n", .invalidChunkSize),
            (" 5\r\nhello\r\n", .invalidChunkSize),
            ("5 \r\nhello\r\n", .invalidChunkSize), ("0x5\r\nhello\r\n", .invalidChunkSize),
            ("-5\r\n", .invalidChunkSize), ("+5\r\n", .invalidChunkSize), ("5\nhello\r\n", .invalidChunkSize),
            ("5\rhello\r\n", .invalidChunkSize), (";a\r\n", .invalidChunkSize),
            ("0000000000000005\r\n", .invalidChunkSize), ("8000000000000000\r\n", .invalidChunkSize),
            ("5;a\nhello\r\n", .invalidChunkExtension), ("5;a\0\r\nhello\r\n", .invalidChunkExtension),
            ("5;\r\nhello\r\n", .invalidChunkExtension), ("5; a\r\nhello\r\n", .invalidChunkExtension),
            ("5;a=\r\nhello\r\n", .invalidChunkExtension), ("5;a=\"b\r\nhello\r\n", .invalidChunkExtension),
            ("5;a=\"b\"c\r\nhello\r\n", .invalidChunkExtension), ("5;a=b;;c\r\nhello\r\n", .invalidChunkExtension),
            ("5;a\rb\r\nhello\r\n", .invalidChunkSize), ("5\r\nhelloX", .invalidChunkEnd),
            ("5\r\nhello\n", .invalidChunkEnd), ("5\r\nhello\rX", .invalidChunkEnd),
            ("4\r\nhello\r\n", .invalidChunkEnd),
            ("0\r\nX: a\n\r\n", .bareLineFeed), ("0\r\nX : a\r\n\r\n", .spaceBeforeColon),
            ("0\r\n X: a\r\n\r\n", .foldedHeader), ("0\r\nX: \u{01}\r\n\r\n", .invalidHeaderValue),
            ("0\r\n0\r\n\r\n", .invalidHeaderName), ("0\r\nGET / HTTP/1.1\r\n\r\n", .spaceBeforeColon),
        ]
    )
    func refusedChunks(body: String, error: HTTPParseError) {
        let text = Self.chunked + body
        let whole = requestTranscript(httpBytes(text))
        #expect(whole.error == error, "\(whole)")
        #expect(httpDeliveriesThatDiffer(text.utf8.count) { requestTranscript(httpBytes(text), $0) } == [])
    }

    @Test(
        "A Host that is no plain host and port is refused",
        arguments: [
            "", "a b", "a,b", "u@a", "a/b", "a\\b", "a?b", "a#b", "a:b", "a:", ":80", "a:80:80", "a:65536", "a:-1",
            "[]",
            "[::1", "[::1]x", "[::1]:x", "::1", "[fe80::1%25eth0]", "ä", "a\"b", "<a>",
        ]
    )
    func refusedHosts(host: String) {
        // An empty port is legal (RFC 3986 §3.2.3).
        let expected: HTTPParseError? = host == "a:" ? nil : .invalidHost
        #expect(requestTranscript(httpBytes("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")).error == expected)
        #expect(requestTranscript(httpBytes("GET / HTTP/1.0\r\nHost: \(host)\r\n\r\n")).error == expected)
    }
}
