/// Which fields may come behind a body (RFC 9110 §6.5.1).
///
/// Whoever merges trailers into the head afterwards, as CGI-style apps do, must not find there what decides about
/// framing, routing, the client or Sidesocket's own words.
enum HTTPTrailerPolicy {
    /// Says whether the field of this name is kept; `_` counts as `-`, as it does in CGI variables.
    static func mayBeTrailer(_ name: Range<Int>, in bytes: Span<UInt8>) -> Bool {
        let start = Self.folded(bytes, name)
        return !names.contains(start) && !prefixes.contains { start.hasPrefix($0) }
    }

    private static func folded(_ bytes: Span<UInt8>, _ name: Range<Int>) -> String {
        String(bytes.text(name).lowercased().map { $0 == "_" ? "-" : $0 })
    }

    private static let names: Set<String> = [
        // Framing and the connection.
        "content-length", "transfer-encoding", "te", "trailer", "connection", "keep-alive", "upgrade",
        // Routing, modifiers, authentication.
        "host", "max-forwards", "expect", "cache-control", "pragma", "range", "authorization", "www-authenticate",
        "authentication-info", "cookie", "set-cookie", "origin", "referer", "http2-settings", "method",
        // How the body is read and what the reply means.
        "content-encoding", "content-type", "content-range", "content-disposition", "age", "date", "expires",
        "location", "retry-after", "vary", "warning", "status",
        // Who the client is.
        "forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "via", "x-original-url",
        "x-rewrite-url", "x-http-method-override", "x-original-host", "x-host",
    ]

    private static let prefixes = [
        "x-forwarded-", "sidesocket-", "ce-", "webhook-", "proxy-", "if-", "sec-", "cf-", "x-sidesocket-",
        "access-control-",
    ]
}
