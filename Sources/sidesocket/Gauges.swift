import PrometheusMetrics
import SidecarCore
import SidecarServer

/// Gauges whose value already stands somewhere: read at the scrape, so that nothing is counted twice.
enum Gauges {
    static func register(_ state: ServerState, in registry: PrometheusRegistry) {
        for kind in TransportKind.allCases {
            registry.gauge("sidesocket_connections", labels: [("transport", kind.rawValue)]) {
                Double(state.sessions(on: kind))
            }
        }
        registry.gauge("sidesocket_max_connections", labels: []) { Double(state.maxConnections) }
        registry.gauge("sidesocket_webhook_max_in_flight", labels: []) { Double(state.maxInFlight) }
        registry.gauge("sidesocket_max_total_pending_bytes", labels: []) { Double(state.pendingBytes.limit) }
        registry.gauge("sidesocket_webhook_in_flight", labels: []) { Double(state.inFlight) }
        registry.gauge("sidesocket_webhook_queue_depth", labels: []) { Double(state.queueDepth) }
        registry.gauge("sidesocket_pending_bytes", labels: []) { Double(state.pendingBytes.held) }
        registry.gauge("sidesocket_sessions_detached", labels: []) { Double(state.detached) }
        registry.gauge("sidesocket_session_buffer_bytes", labels: []) { Double(state.bytesForReturn) }
        registry.gauge("sidesocket_send_buffer_bytes", labels: []) { Double(state.sendBuffers.held) }
        let sendLimit = state.sendBuffers.limit
        registry.gauge("sidesocket_max_total_send_buffer_bytes", labels: []) {
            sendLimit == Settings.unlimited ? .infinity : Double(sendLimit)
        }
        for (index, address) in state.appAddresses.enumerated() {
            registry.gauge("sidesocket_breaker_state", labels: [("address", address.name)]) {
                let addresses = state.appAddresses
                return addresses.indices.contains(index) ? Double(addresses[index].breaker.rawValue) : 0
            }
        }
        registry.gauge("sidesocket_outbox_failing", labels: []) { state.outboxIsWritable == false ? 1 : 0 }
        registry.gauge("sidesocket_outbox_buffered_bytes", labels: []) { Double(state.outboxBytesBuffered) }
        registry.gauge("sidesocket_channels", labels: []) { Double(state.channelCount) }
        registry.gauge("sidesocket_subscriptions", labels: []) { Double(state.subscriptions) }
        registry.gauge("sidesocket_history_bytes", labels: []) { Double(state.historyBytes) }
        if state.cluster != nil {
            registry.gauge("sidesocket_cluster_nodes", labels: []) { Double(state.cluster?.nodes ?? 0) }
            registry.gauge("sidesocket_cluster_up", labels: []) { state.cluster?.isUp == true ? 1 : 0 }
        }
        registry.gauge("sidesocket_draining", labels: []) { state.isDraining ? 1 : 0 }
    }
}
