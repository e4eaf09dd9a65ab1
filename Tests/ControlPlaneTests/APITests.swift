import Logging
import SidecarCore
import Synchronization
import Testing

@testable import ControlPlane

@Suite("The API and whoever carries it out", .timeLimit(.minutes(1)))
struct APITests {
    private final class Journal: Sendable {
        private let state = Mutex<[AuditRecord]>([])
        var records: [AuditRecord] { state.withLock { $0 } }
        func add(_ record: AuditRecord) { state.withLock { $0.append(record) } }
    }

    private func with(
        _ connections: FakeOperator,
        journal: Journal = Journal(),
        body: (ControlClient) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        try await withControlPlane {
            ControlPlane(
                addresses: [.tcp(host: "127.0.0.1", port: 0)],
                metrics: { _ in "" },
                readiness: {
                    Readiness(
                        listening: true,
                        draining: false,
                        appReachable: nil,
                        connections: 0,
                        maxConnections: 0,
                        inFlight: 0,
                        maxInFlight: 0,
                        pendingBytes: 0,
                        maxPendingBytes: 0
                    )
                },
                connections: connections,
                audit: { journal.add($0) },
                logger: logger,
                onRunning: $0
            )
        } body: {
            try await body($0)
        }
    }

    private func ask(_ client: ControlClient, _ call: String, _ body: String = "", headers: String = "") async throws
        -> String
    {
        let head = "\(call) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n"
        return try await client.exchange(Array("\(head)\(headers)\r\n\(body)".utf8))
    }

    private static let looks = [
        "GET /v1/connections", "GET /v1/connections/a", "GET /v1/channels", "GET /v1/channels/c",
        "GET /v1/channels/c/messages", "GET /v1/bans", "GET /v1/bans/user/eve",
    ]
    private static let changes = [
        "DELETE /v1/connections/a", "POST /v1/connections/a/messages", "POST /v1/connections/a/token",
        "DELETE /v1/users/u/connections", "POST /v1/users/u/messages", "PUT /v1/channels/c/connections/a",
        "DELETE /v1/channels/c/connections/a", "PUT /v1/bans/user/eve", "DELETE /v1/bans/user/eve",
    ]

    @Test("Who carries out a call may be away: that is a 503 that says when to come again, and noted for changes")
    func unavailable() async throws {
        let journal = Journal()
        let away = FakeOperator(failure: .unavailable("The other processes cannot be reached."))
        try await with(away, journal: journal) { client in
            for call in Self.looks + Self.changes + ["POST /v1/channels/c/messages"] {
                let answer = try await ask(client, call)
                #expect(answer.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"), "\(call)")
                let head = answer.lowercased()
                #expect(head.contains("retry-after: 1\r\n"), "\(call)")
                #expect(head.contains("content-type: application/problem+json\r\n"), "\(call)")
                #expect(head.contains("cache-control: no-store\r\n"), "\(call)")
                #expect(
                    answer.hasSuffix(
                        "{\"detail\":\"The other processes cannot be reached.\",\"status\":503,"
                            + "\"title\":\"Service Unavailable\",\"type\":\"about:blank\"}\n"
                    ),
                    "\(call)"
                )
            }
            #expect(try await ask(client, "GET /healthz").hasPrefix("HTTP/1.1 200 OK\r\n"))
        }
        #expect(journal.records.count == Self.changes.count)
        #expect(journal.records.allSatisfy { $0.outcome == .refused })
    }

    @Test("In a list each entry says so, and the others are carried out")
    func batch() async throws {
        let entries =
            #"[{"channel":"c","text":"x"},{"user":"u","text":"x"},{"connection":"a","text":"x"},{"text":"x"}]"#
        let away = FakeOperator(failure: .unavailable("The other processes cannot be reached."))
        let bad = #"{"detail":"Exactly one valid channel, user or connection is needed.","status":400}"#
        try await with(away) { client in
            let answer = try await ask(client, "POST /v1/messages", entries)
            let entry = #"{"detail":"The other processes cannot be reached.","status":503}"#
            #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
            #expect(answer.hasSuffix("\r\n\r\n[\(entry),\(entry),\(entry),\(bad)]\n"))
        }
        try await with(FakeOperator()) { client in
            let answer = try await ask(client, "POST /v1/messages", entries)
            let published = """
                {"channel":"c","dropped":1,"epoch":"k3f9x2","matched":3,"offset":18446744073709551615,"queued":2}
                """
            let delivered = #"{"dropped":1,"matched":3,"queued":2}"#
            #expect(answer.hasSuffix("\r\n\r\n[\(published),\(delivered),\(delivered),\(bad)]\n"))
        }
    }

    @Test(
        "Each failure has its status",
        arguments: [
            (OperatorFailure.noConnection, 404), (.noChannel, 404), (.noBan, 404), (.historyGone, 410),
            (.tooManyChannels, 409), (.bansFull, 507), (.refused("The user is banned."), 422),
        ]
    )
    func statuses(failure: OperatorFailure, status: Int) async throws {
        try await with(FakeOperator(failure: failure)) { client in
            let answer = try await ask(client, "POST /v1/connections/a/token")
            #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            #expect(answer.lowercased().contains("content-type: application/problem+json\r\n"))
            #expect(!answer.lowercased().contains("retry-after"))
        }
    }

    @Test("What is carried out is answered with its status, and JSON if there is something to say")
    func answers() async throws {
        try await with(FakeOperator(isNewBan: false)) { client in
            for call in Self.looks {
                let answer = try await ask(client, call)
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(call)")
                #expect(answer.lowercased().contains("content-type: application/json\r\n"), "\(call)")
                #expect(answer.lowercased().contains("cache-control: no-store\r\n"), "\(call)")
                #expect(answer.hasSuffix("}\n"), "\(call)")
            }
            for call in Self.changes {
                let answer = try await ask(client, call)
                let saysNothing = answer.hasPrefix("HTTP/1.1 204 No Content\r\n") && answer.hasSuffix("\r\n\r\n")
                #expect(saysNothing || answer.hasPrefix("HTTP/1.1 200 OK\r\n") && answer.hasSuffix("}\n"), "\(call)")
            }
            #expect(try await ask(client, "POST /v1/drain").hasSuffix("{\"draining\":true}\n"))
            let page = try await ask(client, "GET /v1/channels?limit=2")
            #expect(page.hasSuffix("\"next\":\"three\"}\n"))
            let last = try await ask(client, "GET /v1/channels?limit=3")
            #expect(last.hasSuffix("\"next\":null}\n"))
        }
        try await with(FakeOperator()) { client in
            let answer = try await ask(client, "PUT /v1/bans/user/eve")
            #expect(answer.hasPrefix("HTTP/1.1 201 Created\r\n"))
            #expect(try await ask(client, "POST /v1/drain").hasPrefix("HTTP/1.1 202 Accepted\r\n"))
        }
    }

    @Test("A repeated key gets the first answer byte by byte")
    func idempotency() async throws {
        try await with(FakeOperator()) { client in
            var bodies: Set<String> = []
            for _ in 0..<8 {
                let answer = try await ask(
                    client,
                    "POST /v1/channels/c/messages",
                    "x",
                    headers: "Idempotency-Key: k\r\n"
                )
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
                bodies.insert(answer.split(separator: "\r\n\r\n").last.map(String.init) ?? "")
            }
            #expect(bodies.count == 1)
        }
    }
}
