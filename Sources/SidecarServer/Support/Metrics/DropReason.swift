/// Why a message was not delivered, the `reason` label of `messages_dropped_total`.
enum DropReason: String, CaseIterable {
    case clientGone = "client_gone"
    case slowClient = "slow_client"
    case rateLimited = "rate_limited"
    /// The app or an operator closed the connection while messages waited.
    case closed
    case appFailed = "app_failed"
    case closeUndelivered = "close_undelivered"
    case sessionEventUndelivered = "session_event_undelivered"
    case channelEventUndelivered = "channel_event_undelivered"
    case drainTimeout = "drain_timeout"
}
