public import HTTP1

/// The head of a response to a client, without the fields that depend on the version of HTTP.
public struct ClientResponseHead: Sendable {
    /// What follows the head.
    public enum Body: Sendable, Equatable {
        /// Nothing; the fields may state the length that a GET would have had.
        case none
        /// As many bytes as the app's `Content-Length` says.
        case announced
        /// This many bytes.
        case length(Int)
        /// An unknown number of bytes.
        case unknown
        /// Events, until either side closes.
        case events
    }

    /// A part of the head, in the order in which HTTP/1.x writes them.
    enum Part {
        case ours(_ name: String, _ value: String)
        /// A field of the app; the pointers are valid only during the call.
        case app(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer)
        /// Where HTTP/1.x writes the fields that frame the message and decide whether the connection is kept.
        case framing
    }

    private enum Source {
        case response(HTTPReplyHead)
        case interim(HTTPReplyHead)
        case relayed(HTTPReplyHead)
        case refusal(Refusal)
        case eventStream(HTTPReplyHead?, origin: String?)
        case frames(HTTPReplyHead?)
        case ours(reason: String, [(String, String)])
    }

    /// 100…599, or the status of a refusal of ours.
    public let status: Int
    /// What follows.
    public let body: Body
    private let source: Source

    private init(status: Int, body: Body, _ source: Source) {
        self.status = status
        self.body = body
        self.source = source
    }

    /// The app's reply to a request that was passed through.
    public static func response(_ reply: HTTPReplyHead) -> ClientResponseHead {
        let body: Body =
            switch reply.framing {
            case .none: .none
            case .length: .announced
            case .chunked, .untilClose: .unknown
            }
        return ClientResponseHead(status: reply.status, body: body, .response(reply))
    }

    /// An interim reply of the app (RFC 9110 §15.2).
    public static func interim(_ reply: HTTPReplyHead) -> ClientResponseHead {
        ClientResponseHead(status: reply.status, body: .none, .interim(reply))
    }

    /// A reply of the app to `open` that is not a 2xx.
    ///
    /// - Parameter byteCount: How much of the app's body follows.
    public static func relayed(_ reply: HTTPReplyHead, byteCount: Int) -> ClientResponseHead {
        ClientResponseHead(status: reply.status, body: .length(byteCount), .relayed(reply))
    }

    /// A refusal of our own; its sentence follows as a line.
    public static func refusal(_ refusal: Refusal) -> ClientResponseHead {
        ClientResponseHead(
            status: refusal.status,
            body: .length(refusal.sentence.utf8.count + 1),
            .refusal(refusal)
        )
    }

    /// The start of an event stream, with the end-to-end fields of the app's reply to `open`.
    ///
    /// - Parameter origin: The page that may read it, when the browser sent one (CORS, Fetch Standard §3.2).
    public static func eventStream(_ reply: HTTPReplyHead?, origin: String?) -> ClientResponseHead {
        ClientResponseHead(status: 200, body: .events, .eventStream(reply, origin: origin))
    }

    /// The answer to a POST of the client protocol, with the end-to-end fields of the app's reply to `open`, if it is the
    /// first one.
    ///
    /// - Parameter byteCount: How many bytes of frames follow; nil for none, as 204.
    public static func frames(_ reply: HTTPReplyHead?, byteCount: Int?) -> ClientResponseHead {
        let body: Body = byteCount.map { .length($0) } ?? .none
        return ClientResponseHead(status: byteCount == nil ? 204 : 200, body: body, .frames(reply))
    }

    /// A response of our own.
    ///
    /// - Parameter byteCount: How many bytes follow; nil for a status that has no body.
    public static func ours(
        status: Int,
        _ reason: String,
        _ fields: [(String, String)],
        byteCount: Int?
    ) -> ClientResponseHead {
        let body: Body = byteCount.map { .length($0) } ?? .none
        return ClientResponseHead(status: status, body: body, .ours(reason: reason, fields))
    }

    /// The reason phrase, which has no meaning (RFC 9112 §4).
    var reason: String {
        switch source {
        case .response(let reply), .interim(let reply), .relayed(let reply): reply.reason
        case .refusal(let refusal): refusal.reasonPhrase
        case .eventStream: "OK"
        case .frames: status == 204 ? "No Content" : "OK"
        case .ours(let reason, _): reason
        }
    }

    /// Calls `body` with each part.
    func forEachPart(_ body: (Part) -> Void) {
        switch source {
        case .response(let reply):
            // Responses without a body (HEAD, 304) keep their length field; a 204 has none (RFC 9110 §8.6).
            let isOfUnknownLength = self.body == .unknown
            let use = ReplyUse.response(
                keepsLength: !isOfUnknownLength && status != 204,
                mayHaveTrailers: isOfUnknownLength
            )
            reply.forEachField(in: use) { body(.app($0, $1)) }
            body(.framing)
        case .interim(let reply):
            reply.forEachField(in: .interim) { body(.app($0, $1)) }
        case .relayed(let reply):
            reply.forEachField(in: .refusal) { body(.app($0, $1)) }
            body(.framing)
        case .refusal(let refusal):
            refusal.forEachField { body(.ours($0, $1)) }
            body(.framing)
        case .ours(_, let fields):
            for (name, value) in fields { body(.ours(name, value)) }
            body(.framing)
        case .eventStream(let reply, let origin):
            body(.ours("Content-Type", "text/event-stream"))
            body(.ours("Cache-Control", "no-store"))
            body(.ours("X-Accel-Buffering", "no"))
            body(.framing)
            if let origin {
                body(.ours("Access-Control-Allow-Origin", origin))
                body(.ours("Access-Control-Allow-Credentials", "true"))
                body(.ours("Vary", "Origin"))
            }
            reply?.forEachField(in: .eventStream) { body(.app($0, $1)) }
        case .frames(let reply):
            if status != 204 { body(.ours("Content-Type", "application/json")) }
            body(.ours("Cache-Control", "no-store"))
            body(.framing)
            reply?.forEachField(in: .eventStream) { body(.app($0, $1)) }
        }
    }
}
