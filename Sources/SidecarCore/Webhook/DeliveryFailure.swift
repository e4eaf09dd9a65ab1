/// Why an event was not accepted by the app.
public enum DeliveryFailure: Error, Sendable, Equatable {
    /// The app answered with this status, which is none of 2xx.
    case status(Int)
    /// No whole answer within `WEBHOOK_TIMEOUT`.
    case timeout
    /// No connection to the app.
    case connect(String)
    /// The connection broke before the answer was whole.
    case connectionLost
    /// The answer breaks HTTP/1.1 or the contract; the sentence says how.
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

    /// True when the same event may be answered well later: the app is busy, restarting or away.
    public var isTransient: Bool {
        switch self {
        case .status(let status): [429, 502, 503, 504].contains(status)
        case .timeout, .connect, .connectionLost: true
        case .badReply: false
        }
    }

    /// The close code when the connection ends for it: 1013 when the app was not to be had, 1008 after a 4xx,
    /// 1011 else (RFC 6455 §7.4.1).
    public var closeCode: SessionCloseCode {
        if isTransient { return .tryAgainLater }
        if case .status(400..<500) = self { return .policyViolation }
        return .internalError
    }

    /// The reason in the Close frame; it does not tell what the app answered.
    public var closeReason: String {
        switch closeCode {
        case .tryAgainLater: "the application is not available"
        case .policyViolation: "the application refused the message"
        default: "the application failed"
        }
    }

    /// One plain sentence for the log.
    public var sentence: String { sentence(about: "app") }

    /// The same about another server that was asked.
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
