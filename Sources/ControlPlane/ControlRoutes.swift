internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Builds the router: every path of the control listener, in one place.
enum ControlRoutes {
    static func router(
        metrics: @escaping @Sendable (_ openMetrics: Bool) -> String,
        readiness: @escaping @Sendable () -> Readiness,
        access: APIAccess,
        drain: @escaping @Sendable () -> Void
    ) -> Router<BasicRequestContext> {
        let router = Router(options: .autoGenerateHeadEndpoints)
        let read: [HTTPRequest.Method] = [.get, .head]
        router.add(
            middleware: ProblemMiddleware(
                allowedMethods: ["/metrics": read, "/healthz": read, "/readyz": read, "/v1/drain": [.post]]
            )
        )
        router.get("/metrics") { request, _ in
            let format = MetricsFormat.negotiate(accept: request.headers[.accept])
            return self.answer(.ok, type: format.contentType, metrics(format == .openMetrics))
        }
        // Answers as long as this thread turns, whatever the app or the public port do.
        router.get("/healthz") { _, _ in
            self.answer(.ok, type: "text/plain; charset=utf-8", "ok\n")
        }
        router.get("/readyz") { _, _ in
            let readiness = readiness()
            return self.answer(
                readiness.isReady ? .ok : .serviceUnavailable,
                type: "application/json",
                readiness.json
            )
        }
        router.group("v1").add(middleware: APIGate(access: access)).post("drain") { _, _ in
            drain()
            return self.answer(.accepted, type: "application/json", "{\"draining\":true}\n")
        }
        return router
    }

    private static func answer(_ status: HTTPResponse.Status, type: String, _ body: String) -> Response {
        Response(
            status: status,
            headers: [.contentType: type, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: body))
        )
    }
}
