public import NIOCore

/// Reads the requests of one connection, one after the other, and refuses what two readers could take differently.
///
/// Feed it with ``append(_:)``, then call ``next()`` until it returns nil. After ``HTTPRequestPart/end(trailers:)``
/// the bytes behind the request stay buffered until the next call, so a caller that answers first keeps requests in
/// order, and ``takeRemaining()`` gives them to the protocol that an upgrade switched to. After a request whose
/// `keepAlive` is false nothing is read any more.
public struct HTTPRequestReader: Sendable {
    private enum Phase {
        case head
        case fixed
        case chunked
        case finish
        case closed
    }

    private let limits: HTTPLimits
    private var buffer = ByteBuffer()
    private var phase = Phase.head
    private var failure: HTTPParseError?

    private var blankLines = 0
    private var head = HTTPHeadReader<HTTPRequestLine>()

    private var remaining = 0
    private var chunks = HTTPChunkedDecoder(refusesImitations: true)
    private var keepsAlive = true

    /// A reader for a new connection.
    public init(limits: HTTPLimits) {
        self.limits = limits
    }

    /// How many bytes wait to be read.
    public var bufferedBytes: Int { buffer.readableBytes }

    /// Says whether the connection rests between two requests with nothing buffered; for tests.
    var isIdle: Bool { failure == nil && phase == .head && !hasStartedRequest }

    /// Says whether the connection is inside a request: any byte of its request line has come, and not all of it has
    /// been handed out. Empty lines before a request line don't count.
    public var hasStartedRequest: Bool {
        switch phase {
        case .head: head.startLine != nil || buffer.readableBytes > 0
        case .fixed, .chunked, .finish: true
        case .closed: false
        }
    }

    /// Adds bytes; none of them is left in the caller's buffer.
    ///
    /// Nothing is copied when nothing is buffered. After an error, and beyond the head's cap after the last request
    /// of the connection, bytes are dropped.
    public mutating func append(_ bytes: inout ByteBuffer) {
        if failure != nil || (phase == .closed && buffer.readableBytes >= limits.maxHeadBytes) {
            bytes.moveReaderIndex(to: bytes.writerIndex)
        } else {
            buffer.takeAll(of: &bytes)
        }
    }

    /// The next step, or nil when more bytes are needed.
    ///
    /// Throws the same error again at every call after the first: the connection is to be answered and closed.
    public mutating func next() throws(HTTPParseError) -> HTTPRequestPart? {
        if let failure { throw failure }
        do {
            let part = try advance()
            // An idle connection keeps no read buffer.
            if buffer.readableBytes == 0 { buffer = ByteBuffer() }
            return part
        } catch {
            failure = error
            buffer = ByteBuffer()
            throw error
        }
    }

    /// Takes all bytes that no request has used, for the protocol that an upgrade switched to.
    public mutating func takeRemaining() -> ByteBuffer {
        let remaining = buffer
        buffer = ByteBuffer()
        return remaining
    }

    private mutating func advance() throws(HTTPParseError) -> HTTPRequestPart? {
        switch phase {
        case .head:
            return try nextHead().map { .head($0) }
        case .fixed:
            guard let bytes = buffer.takeSlice(upTo: &remaining) else { return nil }
            if remaining == 0 { phase = .finish }
            return .body(bytes)
        case .chunked:
            switch try chunks.next(&buffer, limits: limits) {
            case .data(let bytes): return .body(bytes)
            case .end(let trailers): return end(trailers: trailers)
            case nil: return nil
            }
        case .finish:
            return end(trailers: nil)
        case .closed:
            return nil
        }
    }

    private mutating func end(trailers: HTTPHeaders?) -> HTTPRequestPart {
        phase = keepsAlive ? .head : .closed
        blankLines = 0
        return .end(trailers: trailers)
    }

    private mutating func nextHead() throws(HTTPParseError) -> HTTPRequestHead? {
        if head.startLine == nil, try !skipBlankLines() { return nil }
        guard let line = try head.read(buffer, limits: limits) else { return nil }
        return try finishHead(line)
    }

    /// Skips what RFC 9112 §2.2 allows before a request line; says whether a request line has begun.
    private mutating func skipBlankLines() throws(HTTPParseError) -> Bool {
        while let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) {
            guard first == UInt8(ascii: "\r") else {
                // Known at the first byte: a TLS hello or other noise is not waited for.
                if !HTTPField.isTokenByte(first) { throw .invalidMethod }
                return true
            }
            guard blankLines < HTTPLimits.maxLeadingBlankLines else { throw .strayBytesBeforeRequest }
            guard let second = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt8.self) else { return false }
            guard second == UInt8(ascii: "\n") else { throw .strayBytesBeforeRequest }
            buffer.moveReaderIndex(forwardBy: 2)
            blankLines += 1
        }
        return false
    }

    private mutating func finishHead(_ line: HTTPRequestLine) throws(HTTPParseError) -> HTTPRequestHead {
        let fields = head.framingFields
        let framing = try requestFraming(line, fields)
        let hasBody = framing != .none && framing != .length(0)
        let method = buffer.readableBytesUInt8Span.text(line.method)
        let target = buffer.readableBytesUInt8Span.text(line.target)
        keepsAlive = fields.keepAlive(minorVersion: line.minorVersion)
        begin(framing)
        return HTTPRequestHead(
            method: method,
            target: target,
            targetForm: line.targetForm,
            minorVersion: line.minorVersion,
            headers: head.finish(&buffer),
            framing: framing,
            keepAlive: keepsAlive,
            expectsContinue: fields.expectsContinue && line.minorVersion == 1 && hasBody
        )
    }

    private func requestFraming(
        _ line: HTTPRequestLine,
        _ fields: HTTPFramingFields
    ) throws(HTTPParseError) -> HTTPBodyFraming {
        let bytes = buffer.readableBytesUInt8Span
        guard fields.hostCount <= 1 else { throw .repeatedHost }
        guard fields.hostCount == 1 || line.minorVersion == 0 else { throw .missingHost }
        if fields.hostCount == 1, !HTTPHost.isValid(bytes, fields.host) { throw .invalidHost }
        return try fields.bodyFraming(in: bytes, minorVersion: line.minorVersion) ?? .none
    }

    private mutating func begin(_ framing: HTTPBodyFraming) {
        switch framing {
        case .length(let length) where length > 0:
            remaining = length
            phase = .fixed
        case .chunked:
            chunks = HTTPChunkedDecoder(refusesImitations: true)
            phase = .chunked
        case .none, .length, .untilClose:
            phase = .finish
        }
    }
}
