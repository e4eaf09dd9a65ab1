public import NIOCore

/// How the end of a body is found (RFC 9112 §6.3).
public enum HTTPBodyFraming: Equatable, Sendable {
    /// There is no body.
    case none
    /// So many bytes.
    case length(Int)
    /// Chunks, then perhaps trailers.
    case chunked
    /// All until the connection ends; replies only.
    case untilClose
}

/// Which form a request target has (RFC 9112 §3.2).
public enum HTTPTargetForm: Equatable, Sendable {
    /// `/path?query`.
    case origin
    /// `http://host/path?query`.
    case absolute
    /// `host:port`, of CONNECT alone.
    case authority
    /// `*`, of OPTIONS alone.
    case asterisk
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

/// The head of a request whose framing is beyond doubt.
public struct HTTPRequestHead: Sendable {
    /// The method as sent: a token of at most 32 bytes; case matters.
    public var method: String
    /// The target's bytes as sent, neither decoded nor normalised: visible ASCII without `#`.
    public var target: String
    /// Which form the target has; a proxy must not take a host out of an absolute one.
    public var targetForm: HTTPTargetForm
    /// 0 or 1, of HTTP/1.x.
    public var minorVersion: Int
    /// The fields as sent.
    public var headers: HTTPHeaders
    /// `none`, `length` or `chunked`.
    public var framing: HTTPBodyFraming
    /// Says whether the connection may carry another request (RFC 9112 §9.3).
    public var keepAlive: Bool
    /// Says whether the client waits for a 100 before it sends the body (RFC 9110 §10.1.1).
    public var expectsContinue: Bool

    /// Whether there is a body; one of no bytes is none.
    public var hasBody: Bool { framing != .none && framing != .length(0) }
}

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

/// One step of a request.
public enum HTTPRequestPart: Sendable {
    /// The head; always first.
    case head(HTTPRequestHead)
    /// Some bytes of the body, never empty; a slice of what was read.
    case body(ByteBuffer)
    /// The request is complete; trailers if a chunked body had some that may be trailers.
    case end(trailers: HTTPHeaders?)
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
