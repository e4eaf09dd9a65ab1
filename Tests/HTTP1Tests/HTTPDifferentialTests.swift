import NIOCore
import NIOEmbedded
import NIOHTTP1
import TestSupport
import Testing

@testable import HTTP1

/// Holds our readers against NIO's decoders, which wrap llhttp: another reading of the same RFC.
@Suite("HTTP readers beside NIO's decoders")
struct HTTPDifferentialTests {
    @Test("A valid message is read by both in the same parts")
    func validMessages() throws {
        var generator = HTTPMessageGenerator(seed: 1)
        for _ in 0..<1000 {
            let request = generator.request()
            let ours = requestTranscript(request)
            #expect(ours.error == nil, "\(text(request)) said \(ours)")
            #expect(comparable(ours) == nioRequest(request).lines, "\(text(request))")

            let reply = generator.reply()
            let ourReply = replyTranscript(reply)
            #expect(ourReply.error == nil, "\(text(reply)) said \(ourReply)")
            #expect(comparable(ourReply) == nioReply(reply).lines, "\(text(reply))")
        }
    }

    @Test("Whatever we accept of damaged requests, NIO accepts with the same meaning")
    func damagedRequests() throws {
        var generator = HTTPMessageGenerator(seed: 2)
        var accepted = 0
        for _ in 0..<4000 {
            let request = generator.damaged(generator.request())
            let ours = requestTranscript(request)
            // What we still wait for the end of may be refused any time.
            guard ours.error == nil, ours.isIdle, !Self.isKnownDeviation(request: ours) else { continue }
            accepted += 1
            let theirs = nioRequest(request)
            #expect(comparable(ours) == theirs.lines.prefix(comparable(ours).count).map { $0 }, "\(text(request))")
            // Behind `Connection: close` we look at nothing; they may find fault with it.
            #expect(
                theirs.error == nil || ours.lines.contains { $0.hasSuffix(" close") && !$0.hasPrefix(" ") },
                "\(text(request))"
            )
        }
        #expect(accepted > 500)
    }

    @Test("Whatever we accept of damaged replies, NIO accepts with the same meaning")
    func damagedReplies() throws {
        var generator = HTTPMessageGenerator(seed: 3)
        var accepted = 0
        for _ in 0..<4000 {
            let reply = generator.damaged(generator.reply())
            let ours = replyTranscript(reply)
            guard ours.error == nil else { continue }
            accepted += 1
            let theirs = nioReply(reply)
            #expect(comparable(ours) == theirs.lines, "\(text(reply))")
            #expect(theirs.error == nil, "\(text(reply))")
        }
        #expect(accepted > 500)
    }
}

// MARK: - Deviations

extension HTTPDifferentialTests {
    /// The one place where we accept a request that NIO refuses, with the reason why that is right; for replies there
    /// is none.
    private static func isKnownDeviation(request: HTTPTranscript) -> Bool {
        // llhttp knows a list of methods; RFC 9110 §9.1 makes any token a method, and the app decides.
        let methods: Set = [
            "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PROPFIND", "CONNECT", "TRACE", "COPY", "LOCK",
        ]
        for line in request.lines where line.hasSuffix(" keep") || line.hasSuffix(" close") {
            guard !line.hasPrefix(" "), let method = line.split(separator: " ").first else { continue }
            if !methods.contains(String(method)) { return true }
        }
        return false
    }
}

// MARK: - The other side

/// What NIO's decoder said, in the words of `comparable`.
private struct NIOTranscript {
    var lines: [String] = []
    var error: (any Error)?
    private var body = ByteBuffer()

    mutating func add(_ line: String, _ headers: NIOHTTP1.HTTPHeaders) {
        flush()
        lines.append(line)
        // NIO keeps the white space behind a value, which is no part of it (RFC 9110 §5.5).
        for (name, value) in headers { lines.append("  \(name): \(trimmed(value))") }
    }

    mutating func add(body bytes: ByteBuffer) {
        body.writeImmutableBuffer(bytes)
    }

    mutating func add(end trailers: NIOHTTP1.HTTPHeaders?) {
        add(trailers == nil ? "end" : "end with trailers", trailers ?? [:])
    }

    mutating func flush() {
        if body.readableBytes > 0 { lines.append("body \(String(buffer: body))") }
        body.clear()
    }
}

private func nioRequest(_ bytes: [UInt8]) -> NIOTranscript {
    let channel = EmbeddedChannel(handler: ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes)))
    var transcript = NIOTranscript()
    do { try channel.writeInbound(ByteBuffer(bytes: bytes)) } catch { transcript.error = error }
    while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
        switch part {
        case .head(let head):
            transcript.add("\(head.method.rawValue) \(head.uri) 1.\(head.version.minor)", head.headers)
        case .body(let bytes): transcript.add(body: bytes)
        case .end(let trailers): transcript.add(end: trailers)
        }
    }
    transcript.flush()
    _ = try? channel.finish()
    return transcript
}

private func nioReply(_ bytes: [UInt8]) -> NIOTranscript {
    let decoder = HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .forward)
    let channel = EmbeddedChannel(handler: ByteToMessageHandler(decoder))
    var transcript = NIOTranscript()
    do {
        let request = NIOHTTP1.HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        try channel.writeOutbound(HTTPClientRequestPart.head(request))
        try channel.writeInbound(ByteBuffer(bytes: bytes))
    } catch { transcript.error = error }
    var leftOver: [HTTPClientResponsePart] = []
    while let part = try? channel.readInbound(as: HTTPClientResponsePart.self) { leftOver.append(part) }
    do {
        if transcript.error == nil { _ = try channel.finish() }
    } catch { transcript.error = error }
    while let part = try? channel.readInbound(as: HTTPClientResponsePart.self) { leftOver.append(part) }
    for part in leftOver {
        switch part {
        case .head(let head):
            let kind = head.status.code < 200 ? "informational" : "final"
            transcript.add("\(kind) \(head.status.code) 1.\(head.version.minor)", head.headers)
        case .body(let bytes): transcript.add(body: bytes)
        case .end(let trailers): transcript.add(end: trailers)
        }
    }
    transcript.flush()
    return transcript
}

/// Our lines without what NIO doesn't say: the form of the target, the framing, keep-alive, the reason as it was sent.
private func comparable(_ transcript: HTTPTranscript) -> [String] {
    transcript.lines.map { line in
        for prefix in ["  ", "body ", "end"] where line.hasPrefix(prefix) { return line }
        let words = line.split(separator: " ", omittingEmptySubsequences: false)
        guard words.count > 2, let version = words.lastIndex(where: { $0 == "1.0" || $0 == "1.1" }) else { return line }
        let isReply = words[0] == "final" || words[0] == "informational"
        return "\(words[0]) \(words[1]) \(isReply ? words[version] : words[2])"
    }
}

private func trimmed(_ value: String) -> String {
    var rest = value[...]
    while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
    while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
    return String(rest)
}

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }
