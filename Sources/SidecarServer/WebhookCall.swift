import CoreMetrics
import NIOCore
import SidecarCore

/// One event on its way to the app, and the answer on its way back.
final class WebhookCall: BackendExchange {
    /// What became of the call.
    typealias Outcome = Result<(head: HTTPReplyHead, body: ByteBuffer), DeliveryFailure>

    private let session: BridgeSession
    private let delivery: Delivery
    private let shard: LoopShard
    private let startedAt = NIODeadline.now()
    /// The time of the event, the same on every repetition.
    private let happenedAt = WallClock.unixMilliseconds()
    private var connection: BackendConnection?
    private var head: HTTPReplyHead?
    private var body = ByteBuffer()
    private var hasRetried = false

    init(delivery: Delivery, session: BridgeSession, shard: LoopShard) {
        self.delivery = delivery
        self.session = session
        self.shard = shard
    }

    /// The app gets the event even when its client has gone.
    var isCancelled: Bool { false }

    func start() {
        shard.webhookPool.run(self)
    }

    func backendReady(_ connection: BackendConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: startedAt + shard.configuration.settings.webhookTimeout)
        shard.scratch.clear()
        session.writeRequest(for: delivery, unixMilliseconds: happenedAt, into: &shard.scratch)
        connection.sendWhole(shard.scratch)
    }

    func backendReplied(_ part: HTTPReplyPart) {
        switch part {
        case .informational:
            break
        case .head(let head):
            self.head = head
        case .body(let bytes):
            if body.readableBytes + bytes.readableBytes > shard.configuration.settings.maxReplyBytes {
                connection?.abort()
                finish(.failure(.badReply("Its body is larger than MAX_REPLY_BYTES.")))
            } else if body.readableBytes == 0 {
                body = bytes
            } else {
                body.writeImmutableBuffer(bytes)
            }
        case .end:
            guard let head else { return }
            finish(.success((head, body)))
        }
    }

    func backendFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        if wasStale, !hasRetried {
            // The app saw nothing of it, or will know it by its ce-id.
            hasRetried = true
            shard.metrics.webhook(for: delivery.event).retries.increment()
            shard.webhookPool.run(self, fresh: true)
            return
        }
        finish(.failure(failure))
    }

    func backendWritabilityChanged(isWritable: Bool) {}
    func backendReadComplete() {}

    /// The permit goes back first, so that whoever waits is served before this session's next event.
    private func finish(_ outcome: Outcome) {
        connection = nil
        shard.state.gate.release(delivery.event.lane)
        let metrics = shard.metrics.webhook(for: delivery.event)
        metrics.duration.recordNanoseconds((NIODeadline.now() - startedAt).nanoseconds)
        switch outcome {
        case .success(let reply) where (200..<300).contains(reply.head.status): metrics.answered.increment()
        case .success(let reply): metrics.failed(.status(reply.head.status))
        case .failure(let failure): metrics.failed(failure)
        }
        session.completed(delivery, outcome)
    }
}
