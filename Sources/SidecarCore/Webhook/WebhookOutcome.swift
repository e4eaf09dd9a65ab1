/// What came of a request to the app, the `outcome` label of `webhook_requests_total`.
public enum WebhookOutcome: String, Sendable, Equatable, CaseIterable {
    /// The app answered with a 2xx.
    case success = "2xx"
    /// It answered with a 3xx, which is not followed.
    case redirection = "3xx"
    /// It answered with a 4xx.
    case clientError = "4xx"
    /// It answered with a 5xx, or a status that is none.
    case serverError = "5xx"
    /// There was no whole answer in time.
    case timeout
    /// No connection came up, or it broke.
    case connectError = "connect_error"
    /// The answer breaks HTTP/1.1 or the contract.
    case badReply = "bad_reply"
}
