import CoreMetrics
import SidecarCore

/// All metrics of the public side, looked up once so that counting costs one atomic addition.
final class ServerMetrics: Sendable {
    final class Traffic: Sendable {
        let text: Counter
        let binary: Counter
        let wireBytes: Counter
        let payloadBytes: Counter

        init(direction: String) {
            text = Counter(
                label: "sidesocket_messages_total",
                dimensions: [("direction", direction), ("type", "text")]
            )
            binary = Counter(
                label: "sidesocket_messages_total",
                dimensions: [("direction", direction), ("type", "binary")]
            )
            wireBytes = Counter(
                label: "sidesocket_message_bytes_total",
                dimensions: [("direction", direction), ("stage", "wire")]
            )
            payloadBytes = Counter(
                label: "sidesocket_message_bytes_total",
                dimensions: [("direction", direction), ("stage", "payload")]
            )
        }

        func message(_ format: MessageFormat, payloadBytes count: Int) {
            switch format {
            case .text: text.increment()
            case .binary: binary.increment()
            }
            payloadBytes.increment(by: Int64(count))
        }
    }

    /// The results of one kind of event, by the `outcome` label.
    final class Webhook: Sendable {
        let answered: Counter
        let duration: Timer
        let wait: Timer
        let retries: Counter
        private let outcomes: LabelledCounters<WebhookOutcome>

        init(event: String) {
            outcomes = LabelledCounters("sidesocket_webhook_requests_total", "outcome", beside: [("event", event)])
            answered = outcomes[.success]
            duration = Timer(label: "sidesocket_webhook_request_duration_seconds", dimensions: [("event", event)])
            wait = Timer(label: "sidesocket_webhook_wait_seconds", dimensions: [("event", event)])
            retries = Counter(label: "sidesocket_webhook_retries_total", dimensions: [("event", event)])
        }

        func failed(_ failure: DeliveryFailure) { outcomes[failure.outcome].increment() }
    }

    let incoming = Traffic(direction: "in")
    let outgoing = Traffic(direction: "out")
    private let opened = LabelledCounters<TransportKind>("sidesocket_connections_opened_total", "transport")
    let connectionDuration = Timer(label: "sidesocket_connection_duration_seconds")
    let open = Webhook(event: "open")
    let message = Webhook(event: "message")
    let close = Webhook(event: "close")
    let revalidate = Webhook(event: "revalidate")
    let channel = Webhook(event: "channel")
    let pingsSent = Counter(label: "sidesocket_pings_sent_total")
    let pongTimeouts = Counter(label: "sidesocket_pong_timeouts_total")
    let pingRoundTrip = Timer(label: "sidesocket_ping_rtt_seconds")
    /// From the last frame of a message to the app's reply.
    let messageDuration = Timer(label: "sidesocket_message_duration_seconds")
    let proxyDuration = Timer(label: "sidesocket_proxy_request_duration_seconds")
    private let proxyByClass: [Counter]
    private let handshakes = LabelledCounters<HandshakeResult>("sidesocket_handshakes_total", "result")
    private let limits: [Limit: [LimitAction: Counter]]
    private let slowClients = LabelledCounters<SlowClientAction>("sidesocket_slow_client_total", "action")
    private let drops = LabelledCounters<DropReason>("sidesocket_messages_dropped_total", "reason")
    private let broadcasts = LabelledCounters<BroadcastResult>("sidesocket_broadcasts_total", "result")
    private let httpRefusals = LabelledCounters<RefusalReason>("sidesocket_http_refused_total", "reason")

    init() {
        proxyByClass = (1...5).map {
            Counter(label: "sidesocket_proxy_requests_total", dimensions: [("code_class", "\($0)xx")])
        }
        var limits: [Limit: [LimitAction: Counter]] = [:]
        for limit in Limit.allCases {
            for action in limit.actions { limits[limit, default: [:]][action] = Self.limited(limit, action) }
        }
        self.limits = limits
        makeSeries()
    }

    func webhook(for kind: SessionEvent.Kind) -> Webhook {
        switch kind {
        case .open: open
        case .message: message
        case .close: close
        case .revalidate: revalidate
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
        let index = status / 100 - 1
        if proxyByClass.indices.contains(index) { proxyByClass[index].increment() }
        proxyDuration.recordNanoseconds(nanoseconds)
    }

    /// A client may send any code; those without a defined meaning share one series.
    private static func codeLabel(_ code: SessionCloseCode) -> String {
        switch code.rawValue {
        case 1000...1003, 1005...1014, 4401, 4403, 4429: String(code.rawValue)
        default: "other"
        }
    }
}
