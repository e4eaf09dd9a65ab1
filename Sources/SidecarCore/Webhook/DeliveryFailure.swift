/// Why the app did not accept an event.
public enum DeliveryFailure: Error, Sendable, Equatable {
    /// The app replied with this status, which is not a 2xx.
    case status(Int)
    /// No complete reply within `WEBHOOK_TIMEOUT`.
    case timeout
    /// No connection to the app.
    case connect(String)
    /// The connection broke before the reply was complete.
    case connectionLost
    /// The reply breaks HTTP/1.1 or the contract; the sentence says how.
    case badReply(String)

    /// The value of the `outcome` label in `webhook_requests_total`.
    public var outcome: WebhookOutcome {
        switch self {
        case .status(let status):
            switch status {
            case 300..<400: .redirection
            case 400..<500: .clientError
            default: .serverError
            }
        case .timeout: .timeout
        case .connect, .connectionLost: .connectError
        case .badReply: .badReply
        }
    }

    /// True when a retry of the event may succeed: the app is busy, restarting or unreachable.
    public var isTransient: Bool {
        switch self {
        case .status(let status): [429, 502, 503, 504].contains(status)
        case .timeout, .connect, .connectionLost: true
        case .badReply: false
        }
    }

    /// The close code of a connection that ends because of it: 1013 when the app was unreachable, 1008 after a 4xx,
    /// 1011 otherwise (RFC 6455 §7.4.1).
    public var closeCode: SessionCloseCode {
        if isTransient { return .tryAgainLater }
        if case .status(400..<500) = self { return .policyViolation }
        return .internalError
    }

    /// The reason in the Close frame; it does not reveal the app's reply.
    public var closeReason: String {
        switch closeCode {
        case .tryAgainLater: "the application is not available"
        case .policyViolation: "the application refused the message"
        default: "the application failed"
        }
    }

    /// One plain sentence for the log.
    public var sentence: String { sentence(about: "app") }

    /// The same about another server, such as the token issuer's.
    public func sentence(about server: String) -> String {
        switch self {
        case .status(let status): "The \(server) answered with status \(status)."
        case .timeout: "The \(server) did not answer in time."
        case .connect(let why): "No connection to the \(server): \(why)"
        case .connectionLost: "The \(server) closed the connection before its response was complete."
        case .badReply(let why): "The \(server)'s response is invalid: \(why)"
        }
    }
}
