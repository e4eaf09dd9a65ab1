import CoreMetrics
import SidecarCore

/// Every metric that the public side writes, resolved once so that counting costs one atomic addition.
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

    /// The outcomes of one kind of event, by the `outcome` label.
    final class Webhook: Sendable {
        let event: String
        let answered: Counter
        let duration: Timer
        let wait: Timer
        let retries: Counter

        init(event: String) {
            self.event = event
            answered = Counter(
                label: "sidesocket_webhook_requests_total",
                dimensions: [("event", event), ("outcome", "2xx")]
            )
            duration = Timer(label: "sidesocket_webhook_request_duration_seconds", dimensions: [("event", event)])
            wait = Timer(label: "sidesocket_webhook_wait_seconds", dimensions: [("event", event)])
            retries = Counter(label: "sidesocket_webhook_retries_total", dimensions: [("event", event)])
        }

        func failed(_ failure: DeliveryFailure) { counter(failure.outcome).increment() }

        func counter(_ outcome: String) -> Counter {
            Counter(label: "sidesocket_webhook_requests_total", dimensions: [("event", event), ("outcome", outcome)])
        }
    }

    let incoming = Traffic(direction: "in")
    let outgoing = Traffic(direction: "out")
    private let openedWebSockets = ServerMetrics.opened(.webSocket)
    private let openedStreams = ServerMetrics.opened(.eventStream)
    let connectionDuration = Timer(label: "sidesocket_connection_duration_seconds")
    let open = Webhook(event: "open")
    let message = Webhook(event: "message")
    let close = Webhook(event: "close")
    let revalidate = Webhook(event: "revalidate")
    let channel = Webhook(event: "channel")
    let pingsSent = Counter(label: "sidesocket_pings_sent_total")
    let pongTimeouts = Counter(label: "sidesocket_pong_timeouts_total")
    let pingRoundTrip = Timer(label: "sidesocket_ping_rtt_seconds")
    /// From the last frame of a message to its answer.
    let messageDuration = Timer(label: "sidesocket_message_duration_seconds")
    let proxyDuration = Timer(label: "sidesocket_proxy_request_duration_seconds")
    private let proxyByClass: [Counter]
    private let handshakes: [HandshakeResult: Counter]

    init() {
        proxyByClass = (1...5).map {
            Counter(label: "sidesocket_proxy_requests_total", dimensions: [("code_class", "\($0)xx")])
        }
        let counters = HandshakeResult.allCases.map { result in
            (result, Counter(label: "sidesocket_handshakes_total", dimensions: [("result", result.rawValue)]))
        }
        handshakes = Dictionary(uniqueKeysWithValues: counters)
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

    func count(_ result: HandshakeResult) { handshakes[result]?.increment() }

    func connectionOpened(_ transport: ClientTransport) {
        (transport == .eventStream ? openedStreams : openedWebSockets).increment()
    }

    private static func opened(_ transport: ClientTransport) -> Counter {
        Counter(label: "sidesocket_connections_opened_total", dimensions: [("transport", transport.rawValue)])
    }

    func connectionClosed(
        code: UInt16,
        initiator: CloseInitiator,
        cause: CloseCause,
        _ transport: ClientTransport
    ) {
        Self.closed(code: code, initiator: initiator, cause: cause, transport).increment()
    }

    static func closed(
        code: UInt16,
        initiator: CloseInitiator,
        cause: CloseCause,
        _ transport: ClientTransport
    ) -> Counter {
        Counter(
            label: "sidesocket_connections_closed_total",
            dimensions: [
                ("code", codeLabel(code)), ("initiator", initiator.rawValue), ("reason", cause.rawValue),
                ("transport", transport.rawValue),
            ]
        )
    }

    func limited(_ limit: String, action: String, by count: Int = 1) {
        Counter(label: "sidesocket_limited_total", dimensions: [("limit", limit), ("action", action)])
            .increment(by: count)
    }

    func slowClient(action: String, by count: Int = 1) {
        Counter(label: "sidesocket_slow_client_total", dimensions: [("action", action)]).increment(by: count)
    }

    func messagesDropped(_ count: Int, reason: String) {
        if count > 0 { Self.dropped(reason).increment(by: count) }
    }

    static func dropped(_ reason: String) -> Counter {
        Counter(label: "sidesocket_messages_dropped_total", dimensions: [("reason", reason)])
    }

    /// A `Sidesocket-Broadcast` field has been read.
    func broadcast(result: String) { Self.broadcasts(result).increment() }

    static func broadcasts(_ result: String) -> Counter {
        Counter(label: "sidesocket_broadcasts_total", dimensions: [("result", result)])
    }

    func httpRefused(_ reason: String) { Self.refused(reason).increment() }

    static func refused(_ reason: String) -> Counter {
        Counter(label: "sidesocket_http_refused_total", dimensions: [("reason", reason)])
    }

    func proxied(status: Int, nanoseconds: Int64) {
        let index = status / 100 - 1
        if proxyByClass.indices.contains(index) { proxyByClass[index].increment() }
        proxyDuration.recordNanoseconds(nanoseconds)
    }

    /// A client may send any code: those without a meaning of their own share one series.
    private static func codeLabel(_ code: UInt16) -> String {
        switch code {
        case 1000...1003, 1005...1014, 4401, 4403, 4429: String(code)
        default: "other"
        }
    }
}

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
