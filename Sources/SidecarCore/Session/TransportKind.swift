/// What carries a session between the client and us.
///
/// The raw value is the `transport` in metrics and the log; events and records have names of their own for it.
public enum TransportKind: String, Sendable, Equatable, CaseIterable {
    /// A WebSocket (RFC 6455).
    case webSocket = "websocket"
    /// Server-Sent Events.
    case eventStream = "event_stream"

    /// True when clients can send messages on it.
    public var receivesMessages: Bool {
        switch self {
        case .webSocket: true
        case .eventStream: false
        }
    }
}
