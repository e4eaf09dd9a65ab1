/// How a request is handled.
public enum RequestRoute: Sendable, Equatable {
    /// It asks for a WebSocket; the handshake has yet to be checked.
    case upgrade
    /// It asks for a stream of events.
    case eventStream
    /// It is a POST of the client protocol over HTTP; its body has yet to be read.
    ///
    /// - Parameter asksForStream: Whether it wants one long answer.
    case protocolPost(asksForStream: Bool)
    /// A browser asks whether a page of another origin may send such a POST (Fetch Standard §4.8).
    case protocolPreflight
    /// It asks for the client script.
    case clientScript
    /// Passed through to the app.
    ///
    /// - Parameters:
    ///   - target: The request target in origin form, as the client wrote it.
    ///   - closeAfterwards: The response is the last one on this connection.
    ///   - inspects: Its body may be an event and has to be read before the app sees it (``StructuredEvents``).
    case passThrough(target: String, closeAfterwards: Bool, inspects: Bool)
    /// Refused here; the connection closes.
    case refuse(Refusal)
}
