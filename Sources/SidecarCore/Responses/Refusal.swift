/// A response of Sidesocket's own, without asking the app.
public struct Refusal: Error, Sendable, Equatable {
    /// The HTTP status.
    public let status: Int
    /// One plain sentence for the body.
    public let sentence: String
    /// Why, for metrics and the log.
    public let reason: RefusalReason
    /// Seconds for `Retry-After`, if any.
    public let retryAfter: Int?
    /// Further fields.
    public let fields: [ResponseField]

    /// Makes a refusal.
    public init(
        status: Int,
        sentence: String,
        reason: RefusalReason,
        retryAfter: Int? = nil,
        fields: [ResponseField] = []
    ) {
        self.status = status
        self.sentence = sentence
        self.reason = reason
        self.retryAfter = retryAfter
        self.fields = fields
    }

    /// Calls `body` with each field except those that frame the message.
    func forEachField(_ body: (_ name: String, _ value: String) -> Void) {
        body("Content-Type", "text/plain; charset=utf-8")
        if status == 426 {
            body("Sec-WebSocket-Version", "13")
            body("Upgrade", "websocket")
        }
        if status == 405 { body("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") }
        for field in fields { body(field.name, field.value) }
        if let retryAfter { body("Retry-After", String(retryAfter)) }
    }

    /// The phrase of RFC 9110 §15 for the statuses that we send ourselves.
    var reasonPhrase: String {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 426: "Upgrade Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        default: "Error"
        }
    }
}
