import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@testable import ControlPlane

private let ready = Readiness(
    listening: true,
    draining: false,
    appReachable: nil,
    connections: 1,
    maxConnections: 2,
    inFlight: 3,
    maxInFlight: 4,
    pendingBytes: 5,
    maxPendingBytes: 6
)

@Suite("Control listener", .timeLimit(.minutes(1)))
struct ControlPlaneTests {
    private func with(
        readiness: Readiness = ready,
        metrics: @escaping @Sendable (Bool) -> String = { $0 ? "open\n# EOF\n" : "plain\n" },
        exchangeLimit: TimeAmount = .seconds(30),
        limitInShutdown: TimeAmount = .milliseconds(100),
        body: (ControlClient) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        try await withControlPlane { running in
            var plane = ControlPlane(
                addresses: [.tcp(host: "127.0.0.1", port: 0)],
                metrics: metrics,
                readiness: { readiness },
                logger: logger,
                onRunning: running
            )
            plane.exchangeLimit = exchangeLimit
            plane.exchangeLimitInShutdown = limitInShutdown
            return plane
        } body: {
            try await body($0)
        }
    }

    @Test("Metrics come as Prometheus text, and as OpenMetrics when asked for")
    func metrics() async throws {
        try await self.with { client in
            let text = try await client.request("GET", "/metrics")
            #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(text.lowercased().contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"))
            #expect(text.hasSuffix("\r\n\r\nplain\n"))
            let open = try await client.request(
                "GET",
                "/metrics?x=1",
                headers: "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n"
            )
            #expect(
                open.lowercased()
                    .contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n")
            )
            #expect(open.hasSuffix("\r\n\r\nopen\n# EOF\n"))
        }
    }

    @Test("HEAD answers like GET, without the body", arguments: ["/metrics", "/healthz", "/readyz"])
    func head(path: String) async throws {
        try await self.with { client in
            let get = try await client.request("GET", path)
            let head = try await client.request("HEAD", path)
            #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(head.hasSuffix("\r\n\r\n"))
            let length = try #require(
                get.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length") }
            )
            #expect(head.lowercased().contains(length))
        }
    }

    @Test("The process is healthy, and ready from when it listens until it drains")
    func health() async throws {
        try await self.with { client in
            #expect(try await client.request("GET", "/healthz").hasSuffix("\r\n\r\nok\n"))
            let answer = try await client.request("GET", "/readyz")
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(
                answer.hasSuffix(
                    """
                    {"app":{"reachable":null},"apps":[],"capacity":{"connections":1,"inFlight":3,"maxConnections":2,\
                    "maxInFlight":4,"maxPendingBytes":6,"pendingBytes":5},"outbox":{"writable":null},"status":"ready"}

                    """
                )
            )
        }
        var starting = ready
        starting.listening = false
        try await self.with(readiness: starting) { client in
            #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
            let answer = try await client.request("GET", "/readyz")
            #expect(answer.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
            #expect(answer.hasSuffix("\"status\":\"starting\"}\n"))
        }
        var draining = ready
        draining.draining = true
        draining.appReachable = false
        try await self.with(readiness: draining) { client in
            #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
            let answer = try await client.request("GET", "/readyz")
            #expect(answer.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
            #expect(answer.hasSuffix("\"status\":\"draining\"}\n"))
            #expect(answer.contains("{\"app\":{\"reachable\":false},"))
        }
    }

    @Test(
        "An unknown path is a 404 with problem details",
        arguments: ["/", "/metricsx", "/metrics/x", "//", "/%00", "/%ZZ", "/v1/nothing", "*", "/?/metrics"]
    )
    func unknownPath(path: String) async throws {
        try await self.with { client in
            let answer = try await client.request("GET", path)
            #expect(answer.hasPrefix("HTTP/1.1 404 Not Found\r\n"))
            #expect(answer.lowercased().contains("content-type: application/problem+json\r\n"))
            #expect(
                answer.hasSuffix(
                    "{\"detail\":\"There is nothing at this path.\",\"status\":404,\"title\":\"Not Found\","
                        + "\"type\":\"about:blank\"}\n"
                )
            )
        }
    }

    @Test("A known path with another method is a 405 that names the methods", arguments: ["POST", "DELETE", "OPTIONS"])
    func otherMethod(method: String) async throws {
        try await self.with { client in
            for path in ["/metrics", "/healthz", "/readyz"] {
                let answer = try await client.request(method, path, headers: "Content-Length: 0\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 405 Method Not Allowed\r\n"))
                #expect(answer.lowercased().contains("allow: get, head\r\n"))
                #expect(answer.lowercased().contains("content-type: application/problem+json\r\n"))
            }
        }
    }

    @Test("Requests on one connection are answered one after the other")
    func keepAlive() async throws {
        try await self.with { client in
            let next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            let answers = try await client.exchange(Array((next + next + last).utf8))
            #expect(answers.split(separator: "HTTP/1.1 200 OK").count == 3)
        }
    }

    @Test("A request in single bytes is answered")
    func splitRequest() async throws {
        try await self.with { client in
            let request = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            let answer = try await client.exchange(Array(request.utf8), whole: false)
            #expect(answer.hasSuffix("\r\n\r\nok\n"))
        }
    }

    @Test("Garbage, oversized heads and broken framing close the connection, and the listener goes on")
    func garbage() async throws {
        let inputs: [[UInt8]] = [
            [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xFC, 0x03, 0x03],
            (0..<4_096).map { UInt8(truncatingIfNeeded: $0 &* 131) },
            Array("GET /metrics HTTP/1.1\r\nHost: x\r\nX: \(String(repeating: "a", count: 1_048_576))\r\n\r\n".utf8),
            Array("GET /metrics HTTP/1.1\r\n\(String(repeating: "A: b\r\n", count: 10_000))\r\n".utf8),
            Array("GET /\(String(repeating: "a", count: 1_048_576)) HTTP/1.1\r\nHost: x\r\n\r\n".utf8),
            Array("GET /metrics HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".utf8),
            Array("GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n".utf8),
            Array("GET /metrics HTTP/9.9\r\nHost: x\r\n\r\n".utf8),
            Array("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".utf8),
            Array("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n".utf8),
            Array("GET http://x/healthz HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n".utf8),
            Array("GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close, upgrade\r\n\r\n".utf8),
            [],
        ]
        try await self.with(exchangeLimit: .seconds(2)) { client in
            for input in inputs {
                let answer = try await client.exchange(input)
                #expect(!answer.contains("plain\n"))
                #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
            }
        }
    }

    @Test("A connection that is idle, or slow with its request, is closed after its time")
    func slow() async throws {
        try await self.with(exchangeLimit: .seconds(2)) { client in
            #expect(try await client.exchange([]) == "")
            #expect(try await client.exchange(Array("GET /metrics HTTP/1.1\r\nHost:".utf8)) == "")
            let unfinished = try await client.exchange(
                Array("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123".utf8)
            )
            #expect(unfinished.hasPrefix("HTTP/1.1 405 Method Not Allowed\r\n"))
            let idle = try await client.exchange(Array("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            #expect(idle.hasSuffix("\r\n\r\nok\n"))
        }
    }

    @Test("A scraper that doesn't read its answer is closed after its time, and others are served meanwhile")
    func unread() async throws {
        let huge = String(repeating: "x", count: 32 * 1_048_576)
        try await self.with(metrics: { _ in huge }, exchangeLimit: .seconds(2)) { client in
            let stalled = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.autoRead, value: false)
                .connect(host: "127.0.0.1", port: client.port)
                .get()
            try await stalled.writeAndFlush(ByteBuffer(string: "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))
            #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
            // Without reading it is the reset, seen by a write, that tells of the close.
            while stalled.isActive {
                do {
                    try await stalled.writeAndFlush(ByteBuffer(string: "GET"))
                } catch {
                    break
                }
            }
        }
    }

    @Test("Shutting down ends while clients hold connections open")
    func shutdown() async throws {
        var held: [any Channel] = []
        try await self.with { client in
            for head in ["", "GET /metrics HTTP/1.1\r\nHo", "POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\n"] {
                let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connect(host: "127.0.0.1", port: client.port)
                    .get()
                try await channel.writeAndFlush(ByteBuffer(string: head))
                held.append(channel)
            }
            #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
        for channel in held {
            try await channel.closeFuture.get()
        }
    }

    @Test("Of more connections than the bound, the one that has waited longest makes room")
    func bound() async throws {
        try await self.with { client in
            var held: [any Channel] = []
            for number in 0..<(ControlPlane.maxConnections + ControlPlane.maxConnectionsInExcess + 1) {
                let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connect(host: "127.0.0.1", port: client.port)
                    .get()
                let begun = ["", "GET /healthz HTTP/1.1\r\nHo", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"][number % 3]
                try await channel.writeAndFlush(ByteBuffer(string: begun))
                held.append(channel)
            }
            #expect(try await client.request("GET", "/healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
            try await held[0].closeFuture.get()
            for channel in held { try? await channel.close() }
        }
    }

    @Test("An address that is taken is an error, not a hang")
    func taken() async throws {
        try await self.with { client in
            let second = ControlPlane(
                addresses: [.tcp(host: "127.0.0.1", port: 0), .tcp(host: "127.0.0.1", port: client.port)],
                metrics: { _ in "" },
                readiness: { ready },
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            )
            await #expect(throws: (any Error).self) { try await second.run() }
        }
    }
}
