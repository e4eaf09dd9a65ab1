internal import Hummingbird
internal import SidecarCore

/// Lets only those through who may use the API.
struct APIGate: RouterMiddleware {
    typealias Context = ControlContext

    let access: APIAccess
    let audit: APIAudit

    func handle(
        _ request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        switch self.access {
        case .open:
            // Any page that is open in a browser on this machine can send requests here.
            let host = request.head.authority
            guard context.peer == "unix:" || Self.isLoopback(host: host),
                Self.isOwnPage(origin: request.headers[.origin], host: host)
            else {
                return try self.refuse(
                    request,
                    context,
                    "a page of another origin, or a name that is not this machine's",
                    Problem(.forbidden, detail: "Pages of other origins may not use the API.")
                )
            }
            return try await next(request, context)
        case .closed:
            return try self.refuse(
                request,
                context,
                "there is no token",
                Problem(
                    .forbidden,
                    detail: "The API needs SIDESOCKET_CONTROL_TOKEN on a listener that is not loopback."
                )
            )
        case .token(let token):
            guard let given = Self.bearerToken(request.headers[values: .authorization]), Self.isSame(given, token)
            else {
                return try self.refuse(
                    request,
                    context,
                    "the token is missing or wrong",
                    Problem(
                        .unauthorized,
                        detail: "The API requires the bearer token in SIDESOCKET_CONTROL_TOKEN.",
                        headers: [.wwwAuthenticate: "Bearer realm=\"sidesocket\""]
                    )
                )
            }
            return try await next(request, context)
        }
    }

    /// Records a call that may not be made; whoever makes too many of them learns nothing more.
    private func refuse(_ request: Request, _ context: Context, _ why: String, _ answer: Problem) throws -> Response {
        let target = "\(request.method.rawValue) \(request.uri.path)"
        let wait = self.audit.record(.refusedCall, target, by: context.peer, .refused, why)
        let tooMany = wait.map {
            Problem(
                .tooManyRequests,
                detail: "Too many calls from this address were refused.",
                headers: [.retryAfter: "\($0 / 1_000_000_000 + 1)"]
            )
        }
        return try (tooMany ?? answer).response(from: request, context: context)
    }

    /// True without an Origin, and for a page of this listener under a name that only means this machine.
    static func isOwnPage(origin: String?, host: String?) -> Bool {
        guard let origin else { return true }
        guard let host, origin == "http://\(host)" || origin == "https://\(host)" else { return false }
        return self.isLoopback(host: host)
    }

    /// True for a name that only means this machine; any other may be a page's own, pointed here (DNS rebinding).
    static func isLoopback(host: String?) -> Bool {
        guard let host else { return true }
        let name = host.split(separator: ":").first.map(String.init) ?? ""
        return name == "localhost" || host.hasPrefix("[::1]")
            || name.hasPrefix("127.") && name.utf8.allSatisfy { $0 == 0x2E || 0x30...0x39 ~= $0 }
    }

    /// The token of the one Authorization field, whose scheme is compared without case (RFC 9110 §11.1).
    static func bearerToken(_ fields: [String]) -> Substring? {
        guard fields.count == 1, let field = fields.first else { return nil }
        let parts = field.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return parts[1].drop { $0 == " " }
    }

    /// Compares in a time that tells only the length of what was given.
    static func isSame(_ given: some StringProtocol, _ token: String) -> Bool {
        let given = Array(given.utf8)
        let token = Array(token.utf8)
        guard !token.isEmpty else { return false }
        var difference = given.count ^ token.count
        for index in given.indices { difference |= Int(given[index] ^ token[index % token.count]) }
        return difference == 0
    }
}
