import CoreMetrics
import SidecarCore
import WebSocketProtocol

/// What carries a session, the `transport` label.
enum ClientTransport: String, CaseIterable {
    case webSocket = "websocket"
    case eventStream = "event_stream"
}

/// The values that labels have, so that every series exists from the start, at zero: what has never happened and what
/// is not counted look different then, and `rate()` sees the first time.
enum MetricSeries {
    /// The limits, each with what is done about it.
    static let limited: [(limit: String, actions: [String])] =
        [
            ("max_connections", ["refused"]), ("max_total_pending_bytes", ["throttled", "refused", "closed"]),
            ("handshake_queue", ["refused"]), ("handshake_timeout", ["refused"]), ("breaker", ["refused"]),
            ("message_assembly_timeout", ["closed"]), ("client_idle_timeout", ["closed"]),
            ("max_connection_age", ["closed"]), ("token_expiry", ["closed"]), ("ban", ["refused", "closed"]),
            ("auto_ban", ["refused"]), ("ban_table", ["refused"]),
        ]
        + ProtocolViolation.allCases.filter { $0.closeCode == .tooBig }.map { ($0.name, ["closed"]) }
        + DryRunLimit.allCases.map { ($0.rawValue, actions(of: $0)) }

    private static func actions(of limit: DryRunLimit) -> [String] {
        switch limit {
        case .allowedOrigins, .maxConnectionsPerIP, .maxConnectionsPerUser, .connectRatePerIP: ["refused", "dry_run"]
        case .controlRate: ["throttled", "dry_run"]
        case .messageRate, .messageRatePerIP, .messageRatePerUser, .byteRate: ["throttled", "closed", "dry_run"]
        }
    }

    static let dropReasons = [
        "client_gone", "slow_client", "rate_limited", "closed", "app_failed", "close_undelivered",
        "channel_event_undelivered", "drain_timeout",
    ]

    static let refusalReasons = [
        "bad_request", "bad_handshake", "path", "method", "origin", "subprotocol", "auth", "ban", "webhook_path",
        "reserved_header", "forged_event", "malformed_event", "unreadable_event", "event_too_large", "body_budget",
        "timeout", "client_stalled", "connection_limit", "rate_limited",
        "proxy_protocol", "draining", "app_unreachable", "app_timeout", "app_bad_reply", "app_failed",
    ]

    static let outcomes = ["2xx", "3xx", "4xx", "5xx", "timeout", "connect_error", "bad_reply"]

    /// How connections end, for each cause the codes that it has.
    static func ends(of transport: ClientTransport) -> [(
        code: UInt16, initiator: CloseInitiator, cause: CloseCause
    )] {
        var ends: [(code: UInt16, initiator: CloseInitiator, cause: CloseCause)] = [
            (1006, .network, .connectionLost), (1000, .server, .appClosed), (4000, .server, .appClosed),
            (1008, .server, .appRefused), (1011, .server, .appFailed), (1013, .server, .appUnavailable),
            (4403, .server, .revalidation), (1008, .server, .kick), (4403, .server, .ban),
            (4401, .server, .tokenExpired), (1008, .server, .connectionLimit), (1008, .server, .slowClient),
            (1001, .server, .maxAge), (1012, .server, .drain),
        ]
        guard transport == .webSocket else { return ends }
        ends += [
            (1000, .client, .client), (1001, .client, .client), (1005, .client, .client), (4000, .client, .client),
            (1001, .server, .pongTimeout), (1001, .server, .idle), (1002, .server, .protocolError),
            (1007, .server, .invalidData), (1009, .server, .tooBig), (1008, .server, .assemblyTimeout),
            (1013, .server, .assemblyBudget), (4401, .server, .tokenRefused), (4403, .server, .tokenRefused),
            (4429, .server, .rateLimited),
        ]
        return ends
    }
}

extension ServerMetrics {
    /// Makes every series whose labels are known.
    func makeSeries() {
        for (limit, actions) in MetricSeries.limited {
            for action in actions { limited(limit, action: action, by: 0) }
        }
        for action in SlowClientAction.allCases { slowClient(action: action.rawValue, by: 0) }
        for reason in MetricSeries.dropReasons { _ = Self.dropped(reason) }
        for reason in MetricSeries.refusalReasons { _ = Self.refused(reason) }
        for result in ["published"] + BroadcastHeader.Fault.allCases.map(\.rawValue) { _ = Self.broadcasts(result) }
        for webhook in [open, message, close, revalidate, channel] {
            for outcome in MetricSeries.outcomes { _ = webhook.counter(outcome) }
        }
        for transport in ClientTransport.allCases {
            for end in MetricSeries.ends(of: transport) {
                _ = Self.closed(code: end.code, initiator: end.initiator, cause: end.cause, transport)
            }
        }
    }
}
