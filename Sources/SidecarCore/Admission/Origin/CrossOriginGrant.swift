/// What a page of another origin may do with a response (CORS, Fetch Standard §3.3).
public enum CrossOriginGrant: Sendable, Equatable {
    /// The request named no origin, as one that no page has made.
    case notAsked
    /// It may not read it.
    case refused
    /// It may read it, and has sent no cookies: it is allowed only by `*`.
    case anonymous
    /// It is listed: it may read it, and send cookies.
    case credentialed(String)

    /// Calls `body` with each field of a response.
    func forEachField(_ body: (_ name: String, _ value: String) -> Void) {
        switch self {
        case .notAsked, .refused: break
        case .anonymous: body("Access-Control-Allow-Origin", "*")
        case .credentialed(let origin):
            body("Access-Control-Allow-Origin", origin)
            body("Access-Control-Allow-Credentials", "true")
        }
        if self != .notAsked, self != .refused { body("Access-Control-Expose-Headers", "Retry-After") }
        body("Vary", "Origin")
    }

    /// What the browser is told that asks before (a preflight).
    public static let preflightFields = [
        ("Access-Control-Allow-Methods", "POST"),
        ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
        ("Access-Control-Max-Age", "600"),
    ]
}
