public import NIOCore

/// The head of a reply whose framing is beyond doubt.
///
/// It goes through many hands, and a reference costs less than its fields.
public final class HTTPReplyHead: Sendable {
    /// 100…599.
    public let status: Int
    /// 0 or 1, of HTTP/1.x.
    public let minorVersion: Int
    /// The fields as sent.
    public let headers: HTTPHeaders
    /// How the body ends; `none` for 1xx, 204, 304 and replies to HEAD, whatever the fields say.
    public let framing: HTTPBodyFraming
    /// Says whether the connection may carry another request (RFC 9112 §9.3).
    public let keepAlive: Bool

    private let reasonRange: Range<Int>

    /// The reason phrase, often empty; it means nothing (RFC 9112 §4).
    public var reason: String { headers.text(reasonRange) }

    init(
        status: Int,
        minorVersion: Int,
        headers: HTTPHeaders,
        framing: HTTPBodyFraming,
        keepAlive: Bool,
        reasonRange: Range<Int>
    ) {
        self.status = status
        self.minorVersion = minorVersion
        self.headers = headers
        self.framing = framing
        self.keepAlive = keepAlive
        self.reasonRange = reasonRange
    }
}

/// What a reply must know of its request to find the end of its body.
public enum HTTPMethodKind: Equatable, Sendable {
    /// HEAD: the reply has no body.
    case head
    /// CONNECT: a 2xx has no body.
    case connect
    /// Any other method.
    case other
}

/// One step of a reply.
public enum HTTPReplyPart: Sendable {
    /// A 1xx that is not the answer yet.
    case informational(HTTPReplyHead)
    /// The final head.
    case head(HTTPReplyHead)
    /// Some bytes of the body, never empty; a slice of what was read.
    case body(ByteBuffer)
    /// The reply is complete; trailers if a chunked body had some that may be trailers.
    case end(trailers: HTTPHeaders?)
}
