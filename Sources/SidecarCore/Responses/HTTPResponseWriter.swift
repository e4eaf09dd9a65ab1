public import HTTP1
public import NIOCore

/// Writes the response to one request of a client that speaks HTTP/1.x, and decides how it is framed (RFC 9112 §6).
public struct HTTPResponseWriter: Sendable {
    /// How the body reaches the client.
    public enum Framing: Sendable, Equatable {
        /// No body.
        case none
        /// Exactly as many bytes as announced.
        case length
        /// Chunks written by us.
        case chunked
        /// The end of the connection ends it.
        case untilClose
    }

    /// Asks for a body that the client holds back (RFC 9110 §10.1.1).
    public static let continuation = ByteBuffer(string: "HTTP/1.1 100 Continue\r\n\r\n")

    private let minorVersion: Int
    private let isToHead: Bool
    private var mayKeepAlive: Bool
    /// What a page of another origin may do with the response; nil for one that is not about that.
    public var crossOriginGrant: CrossOriginGrant?
    /// How the body has to be written whose head was written last.
    public private(set) var framing = Framing.none
    /// Whether another request may follow on the connection (RFC 9112 §9.3).
    public private(set) var keepsAlive = false

    /// For a refusal before there is a request, to a client of unknown version.
    public init() {
        minorVersion = 1
        isToHead = false
        mayKeepAlive = false
    }

    /// For the response to this request.
    public init(to request: HTTPRequestHead) {
        minorVersion = request.minorVersion
        isToHead = request.method == "HEAD"
        mayKeepAlive = request.keepAlive
    }

    /// Makes the response the last one, whatever the client asked for.
    public mutating func close() {
        mayKeepAlive = false
    }

    /// Writes the head of a response.
    ///
    /// - Parameter isLast: No request may follow on the connection. Always so for a body that is delimited by the end
    ///   of the connection.
    public mutating func write(_ head: ClientResponseHead, isLast: Bool, into buffer: inout ByteBuffer) {
        framing =
            switch head.body {
            case .none: .none
            case .announced: .length
            case .length: isToHead ? .none : .length
            case .unknown: minorVersion >= 1 ? .chunked : .untilClose
            case .events: .untilClose
            }
        keepsAlive = mayKeepAlive && !isLast && framing != .untilClose
        // A body that only the end of the connection delimits has no trailers to announce.
        let dropsTrailer = head.body == .unknown && framing == .untilClose
        Self.writeStatusLine(head, into: &buffer)
        head.forEachPart { part in
            switch part {
            case .ours(let name, let value): buffer.writeField(named: name, value)
            case .app(let name, let value):
                if dropsTrailer, HTTPField.equals(name, "trailer") { return }
                // Two values for a page's origin are as good as none.
                if crossOriginGrant != nil, HTTPField.hasPrefix(name, "access-control-") { return }
                buffer.writeField(name, value)
            case .framing: writeFraming(of: head.body, into: &buffer)
            }
        }
        crossOriginGrant?.forEachField { buffer.writeField(named: $0, $1) }
        buffer.writeStaticString("\r\n")
    }

    /// Writes a complete refusal.
    public mutating func write(_ refusal: Refusal, into buffer: inout ByteBuffer) {
        write(.refusal(refusal), isLast: true, into: &buffer)
        guard framing != .none else { return }
        buffer.writeString(refusal.sentence)
        buffer.writeStaticString("\n")
    }

    /// Writes the app's reply to `open`, complete.
    ///
    /// - Parameter body: At most 64 KiB of the app's body.
    public mutating func writeRelayed(_ reply: HTTPReplyHead, body: ByteBuffer, into buffer: inout ByteBuffer) {
        write(.relayed(reply, byteCount: body.readableBytes), isLast: true, into: &buffer)
        if framing != .none { buffer.writeImmutableBuffer(body) }
    }

    /// Writes an interim response, which clients before HTTP/1.1 do not understand; false when nothing was written.
    public func writeInterim(_ head: ClientResponseHead, into buffer: inout ByteBuffer) -> Bool {
        guard minorVersion >= 1 else { return false }
        Self.writeStatusLine(head, into: &buffer)
        head.forEachPart { part in
            if case .app(let name, let value) = part { buffer.writeField(name, value) }
        }
        buffer.writeStaticString("\r\n")
        return true
    }

    /// Writes a 101.
    public static func write(_ head: SwitchingProtocols, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        buffer.writeField("Sec-WebSocket-Accept", head.acceptKey)
        if let extensions = head.extensions { buffer.writeField("Sec-WebSocket-Extensions", extensions) }
        if let subprotocol = head.subprotocol { buffer.writeField("Sec-WebSocket-Protocol", subprotocol) }
        head.forEachAppField { buffer.writeField($0, $1) }
        buffer.writeStaticString("\r\n")
    }

    /// Calls `write` with bytes of the body in the current framing, and with what has to follow them directly.
    public func frame(_ bytes: ByteBuffer, _ write: (_ bytes: ByteBuffer, _ rest: ByteBuffer?) -> Void) {
        switch framing {
        case .none: break
        case .length, .untilClose: write(bytes, nil)
        case .chunked: HTTPChunkWriter.write(bytes, write)
        }
    }

    /// Calls `write` with the end of the body, if the framing has one.
    public func frameEnd(_ trailers: HTTPHeaders?, _ write: (_ bytes: ByteBuffer, _ rest: ByteBuffer?) -> Void) {
        guard framing == .chunked else { return }
        var last = ByteBuffer()
        HTTPChunkWriter.writeLast(trailers: trailers, into: &last)
        write(last, nil)
    }

    private func writeFraming(of body: ClientResponseHead.Body, into buffer: inout ByteBuffer) {
        if case .length(let count) = body {
            buffer.writeStaticString("Content-Length: ")
            buffer.writeDecimal(UInt64(max(count, 0)))
            buffer.writeStaticString("\r\n")
        }
        if framing == .chunked { buffer.writeStaticString("Transfer-Encoding: chunked\r\n") }
        if !keepsAlive {
            buffer.writeStaticString("Connection: close\r\n")
        } else if minorVersion == 0 {
            buffer.writeStaticString("Connection: keep-alive\r\n")
        }
    }

    private static func writeStatusLine(_ head: ClientResponseHead, into buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeDecimal(UInt64(max(head.status, 0)))
        buffer.writeStaticString(" ")
        buffer.writeString(head.reason)
        buffer.writeStaticString("\r\n")
    }
}
