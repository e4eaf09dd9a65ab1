import HTTP1
import NIOCore
import SidecarCore

/// Checks the health of one address of the app periodically (`APP_HEALTH_PATH`).
///
/// Two failed checks in a row (anything but a 2xx or 3xx) take the address out, one successful check puts it back.
final class HealthCheck: AppExchange, TimerOwner {
    private static let failuresThatCount = 2

    private let address: Int
    private let path: String
    private let pool: AppPool
    private let webhooks: WebhookContext
    private let timer = TimerEntry()
    private var connection: AppConnection?
    private var status = 0
    private var failures = 0

    init(address: Int, path: String, pool: AppPool, webhooks: WebhookContext) {
        self.address = address
        self.path = path
        self.pool = pool
        self.webhooks = webhooks
    }

    var isCancelled: Bool { false }

    func start() {
        status = 0
        pool.run(self, fresh: true)
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        start()
        return nil
    }

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: .now() + webhooks.configuration.settings.webhookTimeout)
        connection.sendWhole(
            ByteBuffer(get: path, authority: pool.origin.authority, userAgent: "sidesocket-health")
        )
    }

    func appReplied(_ part: HTTPReplyPart) {
        switch part {
        case .informational: break
        case .head(let head): status = head.status
        case .body:
            // Only the status matters; a long body is not read.
            connection?.abort()
            ended(isWell: (200..<400).contains(status))
        case .end: ended(isWell: (200..<400).contains(status))
        }
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) { ended(isWell: false) }
    func appWritabilityChanged(isWritable: Bool) {}
    func appReadComplete() {}

    private func ended(isWell: Bool) {
        connection = nil
        failures = isWell ? 0 : failures + 1
        if isWell || failures >= Self.failuresThatCount {
            webhooks.gate.noteHealth(address: address, isDown: !isWell, on: webhooks.eventLoop)
        }
        let interval = webhooks.configuration.settings.appHealthInterval
        webhooks.timers.arm(timer, owner: self, at: webhooks.eventLoop.now + interval)
    }
}
