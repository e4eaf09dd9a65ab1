import SidecarCore

/// How a handshake ended, the `result` label of `handshakes_total`.
enum HandshakeResult: String, CaseIterable {
    case accepted
    case badRequest = "bad_request"
    case path
    case origin
    case rateLimited = "rate_limited"
    case connectionLimit = "connection_limit"
    case auth
    case appRefused = "app_refused"
    case appFailed = "app_failed"
    case timeout
    case draining
    case clientGone = "client_gone"
}

extension RefusalReason {
    /// The reason of a handshake that was refused without calling the app: it got no turn in time, or none at all.
    init(turnedAway result: HandshakeResult) {
        self =
            switch result {
            case .timeout: .timeout
            case .appFailed: .appFailed
            default: .connectionLimit
            }
    }
}
