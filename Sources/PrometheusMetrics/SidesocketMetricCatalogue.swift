/// Every metric of Sidesocket: its name, kind, meaning and buckets. The same table for readers is docs/metrics.md.
public enum SidesocketMetricCatalogue {
    /// From a burst of short-lived sockets to a browser tab that stays open all day.
    static let connectionBuckets: [Double] = [1, 5, 15, 60, 300, 900, 3_600, 10_800, 21_600, 43_200, 86_400]

    /// From an app on the same host that answers at once to the longest usual timeouts.
    static let requestBuckets: [Double] = [
        0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
    ]

    /// From a client in the same rack to one on a mobile network out of reach.
    static let roundTripBuckets: [Double] = [
        0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20,
    ]

    /// All of them; labels are named in docs/metrics.md.
    public static let descriptions: [MetricDescription] =
        connections + messages + webhook + channels + cluster + requests + process + ProcessMetrics.descriptions

    /// A registry that knows all of them, with those that it can fill by itself already there.
    public static func makeRegistry(version: String) -> PrometheusRegistry {
        let registry = PrometheusRegistry(descriptions: self.descriptions)
        ProcessMetrics.register(in: registry)
        registry.gauge("sidesocket_build_info", labels: [("version", version)]) { 1 }
        registry.counter("sidesocket_metric_series_refused_total", labels: [("reason", "over_limit")]) {
            [weak registry] in Double(registry?.refusedSeries.overLimit ?? 0)
        }
        registry.counter("sidesocket_metric_series_refused_total", labels: [("reason", "wrong_kind")]) {
            [weak registry] in Double(registry?.refusedSeries.wrongKind ?? 0)
        }
        return registry
    }

    private static let connections: [MetricDescription] = [
        .gauge("connections", "WebSockets and event streams that are open now."),
        .gauge("max_connections", "Connections of clients that may be open at once."),
        .counter("connections_opened_total", "WebSockets and event streams that were accepted."),
        .counter("connections_closed_total", "WebSockets and event streams that ended, by code, initiator and reason."),
        .histogram("connection_duration_seconds", "How long WebSockets and event streams lasted.", connectionBuckets),
        .counter("handshakes_total", "Handshakes of WebSockets and event streams, by result."),
        .counter("limited_total", "How often a limit was applied, by limit and action."),
        .counter("pings_sent_total", "Heartbeat pings sent to clients."),
        .counter("pong_timeouts_total", "Connections closed because a ping was not answered."),
        .histogram("ping_rtt_seconds", "The time from a heartbeat ping to its pong.", roundTripBuckets),
        .counter("slow_client_total", "How often a client read too slowly, by action."),
    ]

    private static let messages: [MetricDescription] = [
        .counter("messages_total", "WebSocket data messages, from clients (in) and to clients (out)."),
        .counter("message_bytes_total", "Bytes of WebSocket data messages, on the wire and as payload."),
        .gauge("sessions_detached", "Sessions of the client protocol that wait for their clients."),
        .gauge("session_buffer_bytes", "Bytes kept for clients of the protocol until they have acknowledged them."),
        .counter("posts_total", "POSTs of the client protocol over HTTP, by result."),
        .counter("resumes_total", "Attempts of clients to resume a session, by result."),
        .counter("handovers_total", "Sessions given to another node, by result."),
        .counter("protocol_errors_total", "Errors that clients of the protocol were told, by code."),
        .counter("messages_dropped_total", "Messages that were not delivered, by reason."),
        .histogram(
            "message_duration_seconds",
            "From the last frame of a message to sending the app's reply to the client.",
            requestBuckets
        ),
        .gauge("max_total_pending_bytes", "The limit on pending_bytes."),
        .gauge("pending_bytes", "Bytes received from clients that the app has not replied to yet."),
        .gauge("send_buffer_bytes", "Bytes queued for clients."),
        .gauge("max_total_send_buffer_bytes", "The limit on send_buffer_bytes."),
    ]

    private static let webhook: [MetricDescription] = [
        .counter("webhook_requests_total", "Event requests to the app, counting each attempt, by event and outcome."),
        .histogram("webhook_request_duration_seconds", "How long the app took for an event.", requestBuckets),
        .histogram("webhook_wait_seconds", "How long an event waited before it was sent.", requestBuckets),
        .gauge("breaker_state", "The breaker of an address of the app: 0 closed, 1 half-open, 2 open."),
        .counter("webhook_retries_total", "Event requests to the app that were retries."),
        .gauge("webhook_in_flight", "Event requests in flight to the app."),
        .gauge("webhook_max_in_flight", "The limit on webhook_in_flight."),
        .gauge("webhook_queue_depth", "Events waiting to be sent to the app."),
        .gauge("outbox_failing", "1 while OUTBOX_DIR cannot be written, else 0."),
        .gauge("outbox_buffered_bytes", "Bytes of messages not yet written to disk."),
    ]

    private static let channels: [MetricDescription] = [
        .gauge("channels", "Channels that have a subscriber or a history."),
        .gauge("subscriptions", "Memberships of all connections in channels."),
        .counter("publications_total", "Messages that were published to a channel, by who published them."),
        .counter("broadcasts_total", "Sidesocket-Broadcast headers of passed-through responses, by result."),
        .counter("deliveries_total", "Published messages, counted per subscriber, by result."),
        .histogram(
            "publish_duration_seconds",
            "From publishing to the last subscriber on an event loop.",
            requestBuckets
        ),
        .gauge("history_bytes", "Bytes in the histories of all channels."),
    ]

    private static let cluster: [MetricDescription] = [
        .gauge("cluster_up", "1 while the engine between the nodes is there, else 0."),
        .gauge("cluster_nodes", "Nodes that are alive."),
        .counter("cluster_unregistered_total", "Connections that were opened before the engine had them."),
        .counter("cluster_messages_refused_total", "Messages from other nodes that were not taken, by reason."),
        .counter("cluster_lost_nodes_total", "Nodes that this one has found lost."),
        .histogram("cluster_probe_seconds", "The round trip of a probe of the engine.", roundTripBuckets),
        .histogram("cluster_lag_seconds", "From publishing on another node to receiving here.", roundTripBuckets),
        .counter("cluster_resyncs_total", "Channels that were compared with the engine, by cause and result."),
        .counter("cluster_reconnects_total", "Attempts to connect to the engine again."),
        .counter("gaps_total", "Channels of which messages were lost, by cause."),
        .counter("ingest_total", "Entries of streams, by source and result."),
        .histogram("ingest_lag_seconds", "From adding an entry to a stream to storing its message.", roundTripBuckets),
        .counter("publish_failures_total", "Publications that the engine did not store or has lost, by reason."),
    ]

    private static let requests: [MetricDescription] = [
        .counter("proxy_requests_total", "HTTP requests passed through to the app, by class of the status code."),
        .histogram("proxy_request_duration_seconds", "How long passed-through HTTP requests took.", requestBuckets),
        .counter("http_refused_total", "HTTP requests that were refused without asking the app, by reason."),
    ]

    private static let process: [MetricDescription] = [
        .gauge("draining", "1 while the process is shutting down, else 0."),
        .gauge("build_info", "Always 1; the version is in its label."),
        .counter("metric_series_refused_total", "Metric series that could not be created, by reason."),
    ]
}

extension MetricDescription {
    private static let prefix = "sidesocket_"

    fileprivate static func counter(_ name: String, _ help: String) -> Self {
        Self(name: self.prefix + name, help: help, kind: .counter)
    }

    fileprivate static func gauge(_ name: String, _ help: String) -> Self {
        Self(name: self.prefix + name, help: help, kind: .gauge)
    }

    fileprivate static func histogram(_ name: String, _ help: String, _ buckets: [Double]) -> Self {
        Self(name: self.prefix + name, help: help, kind: .histogram(buckets: buckets))
    }
}
