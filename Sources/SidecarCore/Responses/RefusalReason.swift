/// Why a request is refused without the app, the `reason` label of `http_refused_total`.
public enum RefusalReason: String, Sendable, Equatable, CaseIterable {
    /// It is not HTTP/1.1 as we accept it.
    case badRequest = "bad_request"
    /// It is not a handshake of RFC 6455.
    case badHandshake = "bad_handshake"
    /// There is no WebSocket at its path.
    case path
    /// Its method is not supported.
    case method
    /// Its page may not open a socket.
    case origin
    /// The app chose a subprotocol that the client did not offer.
    case subprotocol
    /// It has no valid token.
    case auth
    /// The client is banned.
    case ban
    /// Only Sidesocket may call its path.
    case webhookPath = "webhook_path"
    /// One of its headers imitates a reserved one.
    case reservedHeader = "reserved_header"
    /// It imitates an event of Sidesocket.
    case forgedEvent = "forged_event"
    /// Its body is no valid JSON event.
    case malformedEvent = "malformed_event"
    /// Its JSON event cannot be checked.
    case unreadableEvent = "unreadable_event"
    /// Its event is too large to be checked.
    case eventTooLarge = "event_too_large"
    /// Too many bodies are being checked.
    case bodyBudget = "body_budget"
    /// Its body is not one of the client protocol.
    case badPost = "bad_post"
    /// It is too large for the client protocol.
    case postTooLarge = "post_too_large"
    /// It is out of turn among the POSTs of its session.
    case postOutOfTurn = "post_out_of_turn"
    /// Its head or body took too long, or its handshake waited too long for the app.
    case timeout
    /// The client did not read the response.
    case clientStalled = "client_stalled"
    /// There are too many connections, in total or of one address or user.
    case connectionLimit = "connection_limit"
    /// Its address opens connections too fast.
    case rateLimited = "rate_limited"
    /// There is no valid PROXY header.
    case proxyProtocol = "proxy_protocol"
    /// The process shuts down.
    case draining
    /// The app cannot be reached.
    case appUnreachable = "app_unreachable"
    /// The app did not reply in time.
    case appTimeout = "app_timeout"
    /// The app's reply was not usable.
    case appBadReply = "app_bad_reply"
    /// The app is failing, so it is not asked.
    case appFailed = "app_failed"
}
