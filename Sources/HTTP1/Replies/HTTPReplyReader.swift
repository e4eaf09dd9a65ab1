public import NIOCore

/// Reads the replies of one connection to the app and refuses what is malformed or what no request asked for.
///
/// Call ``expectReply(to:)`` when a request goes out, feed it with ``append(_:)``, then call ``next()`` until it
/// returns nil or ``HTTPReplyPart/end(trailers:)``, and ``endOfInput()`` when the connection ends. Bytes behind a
/// reply belong to nobody: a connection with ``bufferedBytes`` above 0 after `end` must not be used again.
public struct HTTPReplyReader: Sendable {
    private enum Phase {
        case idle
        case head
        case fixed
        case chunked
        case untilClose
        case finish
    }

    private let limits: HTTPLimits
    private let maxInformational: Int
    private var buffer = ByteBuffer()
    private var phase = Phase.idle
    private var failure: HTTPParseError?

    private var methodKind = HTTPMethodKind.other
    private var informational = 0
    private var hasRead = false
    private var head = HTTPHeadReader<HTTPStatusLine>()
    private var remaining = 0
    private var chunks = HTTPChunkedDecoder(refusesImitations: false)

    /// A reader for a new connection that lets at most `maxInformational` 1xx replies come before each final one.
    public init(limits: HTTPLimits, maxInformational: Int = 16) {
        self.limits = limits
        self.maxInformational = maxInformational
    }

    /// How many bytes wait to be read.
    public var bufferedBytes: Int { buffer.readableBytes }

    /// Says whether any byte of the expected reply has come, an informational one included.
    ///
    /// Stays true after its end until the next ``expectReply(to:)``.
    public var hasBegun: Bool { hasRead || buffer.readableBytes > 0 }

    /// Announces a request of this kind.
    ///
    /// Bytes that are already buffered came before the request, so they can't be its reply: then, and when a reply is
    /// still unfinished, ``next()`` throws ``HTTPParseError/unsolicitedReply``.
    public mutating func expectReply(to method: HTTPMethodKind) {
        if failure != nil { return }
        guard phase == .idle, buffer.readableBytes == 0 else {
            fail(.unsolicitedReply)
            return
        }
        phase = .head
        methodKind = method
        informational = 0
        hasRead = false
    }

    /// Adds bytes; none of them is left in the caller's buffer.
    ///
    /// Nothing is copied when nothing is buffered. After an error bytes are dropped.
    public mutating func append(_ bytes: inout ByteBuffer) {
        if failure != nil {
            bytes.moveReaderIndex(to: bytes.writerIndex)
        } else {
            buffer.takeAll(of: &bytes)
        }
    }

    /// The next step, or nil when more bytes are needed.
    ///
    /// Throws the same error again at every call after the first, always with status 502: the connection is to be
    /// closed.
    public mutating func next() throws(HTTPParseError) -> HTTPReplyPart? {
        if let failure { throw failure }
        do {
            let part = try advance()
            // An idle connection keeps no read buffer.
            if buffer.readableBytes == 0, buffer.capacity > 0 { buffer = ByteBuffer() }
            return part
        } catch {
            fail(error.inReply)
            throw error.inReply
        }
    }

    /// The rest of the reply behind its head, if all of it is here and needs no decoding: its body.
    ///
    /// Spares who wants the whole the steps in between. The reply is complete then, as after
    /// ``HTTPReplyPart/end(trailers:)``.
    public mutating func takeWholeBody() -> ByteBuffer? {
        switch phase {
        case .finish:
            phase = .idle
            return ByteBuffer()
        case .fixed where buffer.readableBytes >= remaining:
            phase = .idle
            return buffer.takeSlice(upTo: &remaining)
        case .idle, .head, .fixed, .chunked, .untilClose:
            return nil
        }
    }

    /// What the end of the connection means for the reply.
    ///
    /// Returns what ``next()`` would as long as it has something, then `end` for a body that ends with the connection
    /// and nil when no reply has begun or the last is complete. Throws ``HTTPParseError/truncatedReply`` inside any
    /// other reply. Call it again after a part that is not `end`.
    public mutating func endOfInput() throws(HTTPParseError) -> HTTPReplyPart? {
        if let part = try next() { return part }
        switch phase {
        case .idle: return nil
        case .untilClose:
            phase = .idle
            return .end(trailers: nil)
        case .head where !hasBegun: return nil
        case .head, .fixed, .chunked, .finish:
            fail(.truncatedReply)
            throw .truncatedReply
        }
    }

    private mutating func fail(_ error: HTTPParseError) {
        failure = error
        buffer = ByteBuffer()
    }

    private mutating func advance() throws(HTTPParseError) -> HTTPReplyPart? {
        switch phase {
        case .idle:
            if buffer.readableBytes > 0 { throw .unsolicitedReply }
            return nil
        case .head:
            return try nextHead()
        case .fixed:
            guard let bytes = buffer.takeSlice(upTo: &remaining) else { return nil }
            if remaining == 0 { phase = .finish }
            return .body(bytes)
        case .chunked:
            switch try chunks.next(&buffer, limits: limits) {
            case .data(let bytes): return .body(bytes)
            case .end(let trailers):
                phase = .idle
                return .end(trailers: trailers)
            case nil: return nil
            }
        case .untilClose:
            var all = buffer.readableBytes
            return buffer.takeSlice(upTo: &all).map { .body($0) }
        case .finish:
            phase = .idle
            return .end(trailers: nil)
        }
    }

    private mutating func nextHead() throws(HTTPParseError) -> HTTPReplyPart? {
        if buffer.readableBytes > 0 { hasRead = true }
        guard let line = try head.read(buffer, limits: limits) else { return nil }
        return try finishHead(line)
    }

    private mutating func finishHead(_ line: HTTPStatusLine) throws(HTTPParseError) -> HTTPReplyPart {
        if line.status == 101 { throw .unexpectedUpgrade }
        let fields = head.framingFields
        let said = try fields.bodyFraming(in: buffer.readableBytesUInt8Span, minorVersion: line.minorVersion)
        let framing = bodyFraming(line.status, said)
        var keepAlive = fields.keepAlive(minorVersion: line.minorVersion) && framing != .untilClose
        // A reply without a body that announces one may be followed by it, and it would pass for the next reply.
        if line.status >= 200, framing == .none, let said, said != .length(0) { keepAlive = false }
        let replyHead = HTTPReplyHead(
            status: line.status,
            minorVersion: line.minorVersion,
            headers: head.finish(&buffer),
            framing: framing,
            keepAlive: keepAlive,
            reasonRange: line.reason
        )
        guard line.status >= 200 else {
            guard informational < maxInformational else { throw .tooManyInformational }
            informational += 1
            return .informational(replyHead)
        }
        begin(framing)
        return .head(replyHead)
    }

    /// RFC 9112 §6.3, for a message whose fields don't contradict each other.
    private func bodyFraming(_ status: Int, _ said: HTTPBodyFraming?) -> HTTPBodyFraming {
        if status < 200 || status == 204 || status == 304 || methodKind == .head { return .none }
        if methodKind == .connect, status < 300 { return .none }
        return said ?? .untilClose
    }

    private mutating func begin(_ framing: HTTPBodyFraming) {
        switch framing {
        case .length(let length) where length > 0:
            remaining = length
            phase = .fixed
        case .chunked:
            chunks = HTTPChunkedDecoder(refusesImitations: false)
            phase = .chunked
        case .untilClose: phase = .untilClose
        case .none, .length: phase = .finish
        }
    }
}
