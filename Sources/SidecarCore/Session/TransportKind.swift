/// What carries a session between the client and us.
///
/// The raw value is the `transport` in metrics and the log; events and records have names of their own for it.
public enum TransportKind: String, Sendable, Equatable, CaseIterable {
    /// A WebSocket (RFC 6455).
    case webSocket = "websocket"
    /// Server-Sent Events.
    case eventStream = "event_stream"
    /// The client protocol in HTTP requests, each answered when there is something to say (long polling, RFC 6202).
    case poll
    /// The client protocol in one long answer, beside requests with what the client sends.
    case stream

    /// True when a client can send its token as its first message.
    public var mayAuthenticateLater: Bool { self == .webSocket }
}
