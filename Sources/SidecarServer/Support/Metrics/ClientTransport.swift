import CoreMetrics
import SidecarCore

/// What carries a session, the `transport` label.
enum ClientTransport: String, CaseIterable {
    case webSocket = "websocket"
    case eventStream = "event_stream"
}
