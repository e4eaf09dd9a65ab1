import Logging
import NIOCore
import NIOEmbedded

@testable import SidecarCore
@testable import SidecarServer

/// A loop whose time the test moves, with a gate and with an app that is not there.
final class DeliveryRig<Gate: WebhookGate> {
    let loop = EmbeddedEventLoop()
    let gate: Gate
    let app: FakeApp
    let webhooks: WebhookContext
    private let connection: PreparedConnection

    /// - Parameters:
    ///   - addresses: How many addresses the app has.
    ///   - reachable: How many of them there are.
    init(_ gate: Gate, addresses: Int, reachable: Int? = nil, _ environment: [String: String]) throws {
        let urls = (0..<addresses).map { "http://127.0.0.1:\($0 + 9)" }.joined(separator: ",")
        let configuration = try TestSettings.configuration(environment.merging(["APP_URL": urls]) { $1 })
        let dialect = configuration.dialect
        connection = dialect.prepare(
            dialect.connection(
                for: try Samples.head("GET /ws HTTP/1.1", "Host: a"),
                id: "c",
                client: ClientIdentity(address: "192.0.2.1", scheme: "http"),
                transportKind: .webSocket
            )
        )
        self.gate = gate
        app = FakeApp(addresses: reachable ?? addresses)
        webhooks = WebhookContext(
            eventLoop: loop,
            timers: ShardTimers(eventLoop: loop),
            gate: gate,
            app: app,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            configuration: configuration
        )
    }

    /// A delivery that has not begun.
    func make(_ event: SessionEvent = .sample, for owner: FakeOwner) -> WebhookDelivery {
        ConnectionEventDelivery(
            Delivery(sequence: 2, event: event),
            at: 0,
            handshake: nil,
            of: connection,
            metrics: WebhookMetrics(.message),
            owner: owner,
            logFields: [:],
            webhooks: webhooks
        )
    }
}

extension SessionEvent {
    /// A message to deliver.
    static let sample = SessionEvent.message(.text, ByteBuffer(string: "hi"))
}
