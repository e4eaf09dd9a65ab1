import HTTP1

/// The scheme that a client spoke to the outermost proxy that we trust, or to us.
public enum ClientScheme: String, Sendable, Equatable, CaseIterable {
    /// Plain HTTP or `ws:`.
    case http
    /// HTTP over TLS or `wss:`.
    case https

    /// Reads a scheme as proxies write it, in any case; nil for one that is neither HTTP nor WebSocket.
    init?(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        if bytes.matches(range, "https") || bytes.matches(range, "wss") {
            self = .https
        } else if bytes.matches(range, "http") || bytes.matches(range, "ws") {
            self = .http
        } else {
            return nil
        }
    }
}
