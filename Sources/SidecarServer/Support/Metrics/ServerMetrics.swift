import CoreMetrics
import SidecarCore

/// All metrics of the public side, looked up once so that counting costs one atomic addition.
final class ServerMetrics: Sendable {
    let incoming = MessageMetrics(.incoming)
    let outgoing = MessageMetrics(.outgoing)
    private let opened = LabelledCounters<TransportKind>("sidesocket_connections_opened_total", "transport")
    let connectionDuration = Timer(label: "sidesocket_connection_duration_seconds")
    let open = WebhookMetrics(.open)
    let message = WebhookMetrics(.message)
    let close = WebhookMetrics(.close)
    let revalidate = WebhookMetrics(.revalidate)
    private let detached = WebhookMetrics(.detached)
    private let resumed = WebhookMetrics(.resumed)
    let channel = WebhookMetrics(.channel)
    let pingsSent = Counter(label: "sidesocket_pings_sent_total")
    let pongTimeouts = Counter(label: "sidesocket_pong_timeouts_total")
    let pingRoundTrip = Timer(label: "sidesocket_ping_rtt_seconds")
    /// From the last frame of a message to the app's reply.
    let messageDuration = Timer(label: "sidesocket_message_duration_seconds")
    let proxyDuration = Timer(label: "sidesocket_proxy_request_duration_seconds")
    private let proxied = LabelledCounters<StatusClass>("sidesocket_proxy_requests_total", "code_class")
    private let handshakes = LabelledCounters<HandshakeResult>("sidesocket_handshakes_total", "result")
    private let limits: [Limit: [LimitAction: Counter]]
    private let slowClients = LabelledCounters<SlowClientAction>("sidesocket_slow_client_total", "action")
    let resumes = LabelledCounters<ResumeResult>("sidesocket_resumes_total", "result")
    let posts = LabelledCounters<PostResult>("sidesocket_posts_total", "result")
    let protocolErrors = LabelledCounters<ProtocolError.Code>("sidesocket_protocol_errors_total", "code")
    private let drops = LabelledCounters<DropReason>("sidesocket_messages_dropped_total", "reason")
    private let broadcasts = LabelledCounters<BroadcastResult>("sidesocket_broadcasts_total", "result")
    private let httpRefusals = LabelledCounters<RefusalReason>("sidesocket_http_refused_total", "reason")

    init() {
        var limits: [Limit: [LimitAction: Counter]] = [:]
        for limit in Limit.allCases {
            for action in limit.actions { limits[limit, default: [:]][action] = Self.limited(limit, action) }
        }
        self.limits = limits
        makeSeries()
    }

    func webhook(for kind: SessionEvent.Kind) -> WebhookMetrics {
        switch kind {
        case .open: open
        case .message: message
        case .close: close
        case .revalidate: revalidate
        case .detached: detached
        case .resumed: resumed
        }
    }

    func count(_ result: HandshakeResult) { handshakes[result].increment() }

    func connectionOpened(_ transportKind: TransportKind) { opened[transportKind].increment() }

    func connectionClosed(
        code: SessionCloseCode,
        initiator: CloseInitiator,
        cause: CloseCause,
        _ transportKind: TransportKind
    ) {
        Self.closed(code: code, initiator: initiator, cause: cause, transportKind).increment()
    }

    static func closed(
        code: SessionCloseCode,
        initiator: CloseInitiator,
        cause: CloseCause,
        _ transportKind: TransportKind
    ) -> Counter {
        Counter(
            label: "sidesocket_connections_closed_total",
            dimensions: [
                ("code", codeLabel(code)), ("initiator", initiator.rawValue), ("reason", cause.rawValue),
                ("transport", transportKind.rawValue),
            ]
        )
    }

    func limited(_ limit: Limit, action: LimitAction) {
        (limits[limit]?[action] ?? Self.limited(limit, action)).increment()
    }

    private static func limited(_ limit: Limit, _ action: LimitAction) -> Counter {
        Counter(
            label: "sidesocket_limited_total",
            dimensions: [("limit", limit.rawValue), ("action", action.rawValue)]
        )
    }

    func slowClient(action: SlowClientAction) { slowClients[action].increment() }

    func messagesDropped(_ count: Int, reason: DropReason) {
        if count > 0 { drops[reason].increment(by: count) }
    }

    /// A `Sidesocket-Broadcast` field has been read.
    func broadcast(result: BroadcastResult) { broadcasts[result].increment() }

    func httpRefused(_ reason: RefusalReason) { httpRefusals[reason].increment() }

    func proxied(status: Int, nanoseconds: Int64) {
        if let statusClass = StatusClass(status: status) { proxied[statusClass].increment() }
        proxyDuration.recordNanoseconds(nanoseconds)
    }

    /// A client may send any code; those without a defined meaning share one series.
    private static func codeLabel(_ code: SessionCloseCode) -> String {
        switch code.rawValue {
        case 1000...1003, 1005...1014, 4400, 4401, 4403, 4408...4410, 4429: String(code.rawValue)
        default: "other"
        }
    }
}
