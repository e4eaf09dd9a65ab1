/// What a request to upgrade says about the WebSocket handshake (RFC 6455 §4.1).
///
/// Each list holds the values of all header fields of that name, in the order they came.
public struct UpgradeRequest: Sendable {
    /// The request method as it came.
    public var method: String
    /// The 1 of `HTTP/1.1`.
    public var httpMajor: Int
    /// The second 1 of `HTTP/1.1`.
    public var httpMinor: Int
    /// The request target as it came.
    public var target: String
    /// `Host`
    public var hosts: [String]
    /// `Upgrade`
    public var upgrade: [String]
    /// `Connection`
    public var connection: [String]
    /// `Sec-WebSocket-Key`
    public var key: [String]
    /// `Sec-WebSocket-Version`
    public var version: [String]
    /// `Sec-WebSocket-Protocol`
    public var protocols: [String]
    /// `Sec-WebSocket-Extensions`
    public var extensions: [String]
    /// True when the request has a body: chunked, or of a length above zero.
    public var hasBody: Bool

    /// Takes each part as it came.
    public init(
        method: String,
        httpMajor: Int,
        httpMinor: Int,
        target: String,
        hosts: [String],
        upgrade: [String],
        connection: [String],
        key: [String],
        version: [String],
        protocols: [String],
        extensions: [String] = [],
        hasBody: Bool
    ) {
        self.method = method
        self.httpMajor = httpMajor
        self.httpMinor = httpMinor
        self.target = target
        self.hosts = hosts
        self.upgrade = upgrade
        self.connection = connection
        self.key = key
        self.version = version
        self.protocols = protocols
        self.extensions = extensions
        self.hasBody = hasBody
    }
}

/// A handshake that can be answered with 101.
public struct AcceptedUpgrade: Sendable, Equatable {
    /// The value of `Sec-WebSocket-Accept`.
    public let acceptKey: String
    /// The subprotocols that the client offers, in its order of preference; the answer may name one of them or none.
    public let offeredProtocols: [String]
    /// The compression that both sides can do, or nil; its `fieldValue` goes into `Sec-WebSocket-Extensions`.
    public let deflate: NegotiatedDeflate?

    init(acceptKey: String, offeredProtocols: [String], deflate: NegotiatedDeflate? = nil) {
        self.acceptKey = acceptKey
        self.offeredProtocols = offeredProtocols
        self.deflate = deflate
    }
}

/// An answer other than 101, after which the connection is closed.
public struct HandshakeRefusal: Error, Equatable, Sendable {
    /// 400, or 426, which the caller sends with `Sec-WebSocket-Version: 13`.
    public let status: Int
    /// The body of the answer: one plain sentence that says why.
    public let sentence: String

    /// - Parameters:
    ///   - status: the HTTP status of the answer.
    ///   - sentence: one plain sentence that says why.
    public init(status: Int, sentence: String) {
        self.status = status
        self.sentence = sentence
    }
}
