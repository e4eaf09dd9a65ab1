import HTTP1
import NIOCore
import SidecarCore
import TestSupport
import Testing

@Suite("Pass-through: the request to the app")
struct PassThroughRequestTests {
    private let client = ClientIdentity(address: "203.0.113.9", scheme: "https")

    private func written(
        _ lines: String...,
        target: String = "/",
        preserveHost: Bool = true
    ) throws -> [String] {
        var buffer = ByteBuffer()
        PassThroughHeads.writeRequest(
            try Heads.request(lines: lines),
            target: target,
            client: client,
            appAuthority: "app:3000",
            preserveHost: preserveHost,
            into: &buffer
        )
        return Heads.lines(buffer)
    }

    private let forwarding = [
        "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https", "X-Forwarded-Host: a.example",
    ]

    @Test("The head goes on with its fields in order, and names the client")
    func plain() throws {
        let lines = try written(
            "PATCH /x HTTP/1.1",
            "Accept: */*",
            "Host: a.example",
            "Cookie: b=1",
            "cookie: c=2",
            "Content-Type: text/plain",
            "Content-Length: 5",
            target: "/x?y=%2f"
        )
        #expect(
            lines == [
                "PATCH /x?y=%2f HTTP/1.1", "Host: a.example", "Accept: */*", "Cookie: b=1", "cookie: c=2",
                "Content-Type: text/plain",
            ] + forwarding + ["Content-Length: 5", "", ""]
        )
    }

    @Test("Fields of one hop end here, and so do those that Connection names")
    func hopByHop() throws {
        let lines = try written(
            "GET / HTTP/1.1",
            "Host: a.example",
            "Connection: close, X-One , x-TWO",
            "connection: keep-alive,x-three,,",
            "X-One: 1",
            "x-two: 2",
            "X-Three: 3",
            "X-Four: 4",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "Proxy-Authorization: Basic x",
            "Proxy-Authenticate: Basic",
            "TE: trailers",
            "Upgrade: h2c",
            "HTTP2-Settings: x"
        )
        #expect(
            lines == ["GET / HTTP/1.1", "Host: a.example", "X-Four: 4", "HTTP2-Settings: x"] + forwarding + ["", ""]
        )
    }

    @Test("Connection cannot name away what we add or what frames the message (abuse case 26)")
    func protectedFields() throws {
        let lines = try written(
            "POST / HTTP/1.1",
            "Host: a.example",
            "Connection: close, X-Forwarded-For, X-Forwarded-Proto, Host, Content-Length, Transfer-Encoding",
            "Content-Length: 3"
        )
        #expect(lines == ["POST / HTTP/1.1", "Host: a.example"] + forwarding + ["Content-Length: 3", "", ""])
    }

    @Test("What an untrusted client says about itself is replaced (abuse case 27)")
    func spoofed() throws {
        let lines = try written(
            "GET / HTTP/1.1",
            "Host: a.example",
            "X-Forwarded-For: 127.0.0.1",
            "x-forwarded-for: 10.0.0.1",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: evil",
            "X-Forwarded-Prefix: /x",
            "X-Forwarded-Client-Cert: x",
            "Forwarded: for=127.0.0.1",
            "X-Real-IP: 127.0.0.1",
            "Sidesocket-User: admin",
            "sidesocket-anything: x"
        )
        #expect(lines == ["GET / HTTP/1.1", "Host: a.example"] + forwarding + ["", ""])
    }

    @Test("Other people's CloudEvents and signatures stay untouched (abuse case 26)")
    func foreignWebhooks() throws {
        let fields = ["ce-type: com.example", "Ce-Id: 1", "webhook-id: 2", "webhook-signature: v1,x=="]
        let lines = try Heads.request(lines: ["POST / HTTP/1.1", "Host: a.example"] + fields)
        var buffer = ByteBuffer()
        PassThroughHeads.writeRequest(
            lines,
            target: "/",
            client: client,
            appAuthority: "app:3000",
            preserveHost: true,
            into: &buffer
        )
        #expect(Heads.lines(buffer) == ["POST / HTTP/1.1", "Host: a.example"] + fields + forwarding + ["", ""])
    }

    @Test("The app's own authority is the Host when asked for, and when the client names none")
    func host() throws {
        let other = try written("GET / HTTP/1.1", "Host: a.example", preserveHost: false)
        #expect(other == ["GET / HTTP/1.1", "Host: app:3000"] + forwarding + ["", ""])
        let none = try written("GET / HTTP/1.0")
        #expect(none.contains("Host: app:3000") && none.contains("X-Forwarded-Host: app:3000"))
        #expect(none.first == "GET / HTTP/1.1")
    }

    @Test("The framing is written anew: a length, chunks, or nothing")
    func framing() throws {
        let chunked = try written("PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: CHUNKED", "Trailer: X-Sum")
        #expect(chunked.suffix(3) == ["Transfer-Encoding: chunked", "", ""])
        #expect(chunked.contains("Trailer: X-Sum"))
        let empty = try written("PUT / HTTP/1.1", "Host: a", "Content-Length: 000")
        #expect(empty.suffix(3) == ["Content-Length: 0", "", ""])
        let none = try written("GET / HTTP/1.1", "Host: a", "Expect: 100-continue")
        #expect(none.contains("Expect: 100-continue") && !none.contains { $0.hasPrefix("Content-Length") })
    }

    /// What a client sent is read, routed, written and read again: the app must see one request with the same parts.
    @Test("What goes to the app is read back as the one request that the client sent", arguments: UInt64(1)...6)
    func roundTrip(seed: UInt64) throws {
        var generator = HTTPMessageGenerator(seed: seed)
        var passed = 0
        for round in 0..<500 {
            let valid = generator.request()
            let bytes = round % 2 == 0 ? valid : generator.damaged(valid)
            for exchange in Exchange.all(in: bytes, client: client) {
                passed += 1
                let heard = Exchange.all(in: Array(exchange.written.readableBytesView), client: client)
                if heard.count != 1 || heard.first?.meaning != exchange.meaning {
                    Issue.record(
                        "\(exchange.meaning) became \(heard.map(\.meaning)): \(String(buffer: exchange.written))"
                    )
                    return
                }
            }
        }
        #expect(passed > 100)
    }
}

/// One request as it was read, and as it goes to the app.
private struct Exchange {
    private(set) var meaning: [String]
    private(set) var written = ByteBuffer()
    private var isChunked = false

    /// The whole requests in some bytes that are passed through.
    static func all(in bytes: [UInt8], client: ClientIdentity) -> [Exchange] {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        let router = RequestRouter(webSocketPaths: [.everything], webhookPath: nil)
        var buffer = ByteBuffer(bytes: bytes)
        reader.append(&buffer)
        var whole: [Exchange] = []
        var current: Exchange?
        while let part = try? reader.next() {
            switch part {
            case .head(let head):
                current = nil
                if case .passThrough(let target, _, _) = router.route(head) {
                    current = Exchange(head, target: target, client: client)
                }
            case .body(let bytes): current?.add(bytes)
            case .end(let trailers):
                current?.end(trailers)
                if let current { whole.append(current) }
                current = nil
            }
        }
        return whole
    }

    private init(_ head: HTTPRequestHead, target: String, client: ClientIdentity) {
        let framing =
            switch head.framing {
            case .chunked: "chunked"
            case .length(let length): "\(length)"
            case .none, .untilClose: "none"
            }
        meaning = [head.method, target, head.headers.first("host") ?? "app", framing, ""]
        meaning += head.headers.values(of: "accept") + head.headers.values(of: "x_y") + head.headers.values(of: "x-a")
        isChunked = head.framing == .chunked
        PassThroughHeads.writeRequest(
            head,
            target: target,
            client: client,
            appAuthority: "app",
            preserveHost: true,
            into: &written
        )
    }

    private mutating func add(_ bytes: ByteBuffer) {
        meaning[4] += String(decoding: bytes.readableBytesView, as: Unicode.ASCII.self)
        if isChunked {
            HTTPChunkWriter.write(bytes) { chunk, rest in
                written.writeImmutableBuffer(chunk)
                if let rest { written.writeImmutableBuffer(rest) }
            }
        } else {
            written.writeImmutableBuffer(bytes)
        }
    }

    private mutating func end(_ trailers: HTTPHeaders?) {
        meaning.append("end \(trailers?.values(of: "x-trailer") ?? [])")
        if isChunked { HTTPChunkWriter.writeLast(trailers: trailers, into: &written) }
    }
}
