/// How the end of a body is found (RFC 9112 §6.3).
public enum HTTPBodyFraming: Equatable, Sendable {
    /// There is no body.
    case none
    /// So many bytes.
    case length(Int)
    /// Chunks, then perhaps trailers.
    case chunked
    /// All until the connection ends; replies only.
    case untilClose
}
