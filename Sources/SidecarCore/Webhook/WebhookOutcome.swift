/// The result of a request to the app, the `outcome` label of `webhook_requests_total`.
public enum WebhookOutcome: String, Sendable, Equatable, CaseIterable {
    /// The app replied with a 2xx.
    case success = "2xx"
    /// It replied with a 3xx, which is not followed.
    case redirection = "3xx"
    /// It replied with a 4xx.
    case clientError = "4xx"
    /// It replied with a 5xx, or with an unassigned status.
    case serverError = "5xx"
    /// There was no complete reply in time.
    case timeout
    /// No connection came up, or it broke.
    case connectError = "connect_error"
    /// The reply breaks HTTP/1.1 or the contract.
    case badReply = "bad_reply"
}
