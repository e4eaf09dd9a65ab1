/// Which fields may come behind a body (RFC 9110 §6.5.1).
///
/// Whoever merges trailers into the head afterwards, as CGI-style apps do, must not find there what decides about
/// framing, routing, the client or Sidesocket's own words.
enum HTTPTrailerPolicy {
    /// What becomes of a field.
    enum Verdict: Equatable {
        case keep
        /// It means something only in a head.
        case leaveOut
        /// An app could take its name for one of those, as it could in a head (`HeaderRules.imitatesReserved(_:)`).
        case imitation
    }

    /// Judges a field by its name, in which every byte but letters and digits counts as `-`.
    static func verdict(_ name: Range<Int>, in bytes: Span<UInt8>) -> Verdict {
        let text = bytes.text(name).lowercased()
        let folded = String(text.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
        guard names.contains(folded) || prefixes.contains(where: { folded.hasPrefix($0) }) else { return .keep }
        return folded == text ? .leaveOut : .imitation
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
        "x-rewrite-url", "script-name", "path-info", "x-http-method-override", "x-original-host", "x-host",
    ]

    private static let prefixes = [
        "x-forwarded-", "sidesocket-", "ce-", "webhook-", "proxy-", "if-", "sec-", "cf-", "x-sidesocket-",
        "access-control-",
    ]
}
