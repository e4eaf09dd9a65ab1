internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import SidecarCore

/// Builds the router: every path of the control listener, in one place.
enum ControlRoutes {
    private static let read: [HTTPRequest.Method] = [.get, .head]

    /// What each path answers to; the router itself tells an unknown path and an unknown method alike.
    static let methods: [(path: String, methods: [HTTPRequest.Method])] = [
        ("/metrics", read), ("/healthz", read), ("/readyz", read), ("/v1/drain", [.post]),
        ("/v1/connections", read), ("/v1/connections/{id}", [.get, .head, .delete]),
        ("/v1/connections/{id}/messages", [.post]), ("/v1/connections/{id}/token", [.post]),
        ("/v1/users/{user}/connections", [.delete]), ("/v1/users/{user}/messages", [.post]),
        ("/v1/messages", [.post]), ("/v1/channels", read), ("/v1/channels/{channel}", read),
        ("/v1/channels/{channel}/messages", [.get, .head, .post]),
        ("/v1/channels/{channel}/connections/{id}", [.put, .delete]), ("/v1/bans", read), ("/v1/nodes", read),
        ("/v1/bans/{kind}/{value}", [.get, .head, .put, .delete]),
    ]

    static func router(
        metrics: @escaping @Sendable (_ openMetrics: Bool) -> String,
        readiness: @escaping @Sendable () -> Readiness,
        access: APIAccess,
        drain: @escaping @Sendable () -> Void,
        api: ConnectionsAPI?,
        channels: ChannelsAPI?,
        audit: APIAudit,
        logger: Logger
    ) -> Router<ControlContext> {
        let router = Router(context: ControlContext.self, options: .autoGenerateHeadEndpoints)
        router.add(middleware: ProblemMiddleware(allowedMethods: methods, logger: logger))
        router.get("/metrics") { request, _ in
            let format = MetricsFormat.negotiate(accept: request.headers[.accept])
            return EditedResponse(
                headers: [.contentType: format.contentType, .cacheControl: "no-store"],
                response: metrics(format == .openMetrics)
            )
        }
        // Answers as long as this thread turns, whatever the app or the public port do.
        router.get("/healthz") { _, _ in EditedResponse(headers: [.cacheControl: "no-store"], response: "ok\n") }
        router.get("/readyz") { _, _ in
            let readiness = readiness()
            return EditedResponse(
                status: readiness.isReady ? .ok : .serviceUnavailable,
                response: ReadinessResponse(readiness)
            )
        }
        let v1 = router.group("v1").add(middleware: APIGate(access: access, audit: audit))
        v1.post("drain") { _, context in
            drain()
            audit.record(.drain, "", by: context.peer, .ok)
            return EditedResponse(status: .accepted, response: DrainResponse(draining: true))
        }
        api?.register(in: v1)
        channels?.register(in: v1)
        return router
    }
}
