public import NIOCore

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

/// One step of a request.
public enum HTTPRequestPart: Sendable {
    /// The head; always first.
    case head(HTTPRequestHead)
    /// Some bytes of the body, never empty; a slice of what was read.
    case body(ByteBuffer)
    /// The request is complete; trailers if a chunked body had some that may be trailers.
    case end(trailers: HTTPHeaders?)
}
