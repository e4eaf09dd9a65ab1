import CoreMetrics
import NIOCore
import SidecarCore

/// One attempt to bring an event to the app, and the answer on its way back.
final class WebhookCall: BackendExchange {
    /// What became of the call.
    typealias Outcome = Result<(head: HTTPReplyHead, body: ByteBuffer), DeliveryFailure>

    private let session: BridgeSession
    private let delivery: Delivery
    private let happenedAt: Int64
    private let address: Int
    private let shard: LoopShard
    private let startedAt: NIODeadline
    private var connection: BackendConnection?
    private var head: HTTPReplyHead?
    private var body = ByteBuffer()
    private var hasRetried = false

    /// - Parameters:
    ///   - happenedAt: The time of the event in milliseconds since 1970, the same on every repetition.
    ///   - address: The address of the app that the gate has chosen.
    init(
        delivery: Delivery,
        happenedAt: Int64,
        address: Int,
        session: BridgeSession,
        shard: LoopShard,
        at now: NIODeadline
    ) {
        self.delivery = delivery
        self.happenedAt = happenedAt
        self.address = address
        self.session = session
        self.shard = shard
        startedAt = now
    }

    /// The app gets the event even when its client has gone.
    var isCancelled: Bool { false }

    func start() {
        run(fresh: false)
    }

    private func run(fresh: Bool) {
        if let pool = shard.webhookPool(address) {
            pool.run(self, fresh: fresh)
        } else {
            finish(.failure(.connect("The app has no such address.")))
        }
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
            run(fresh: true)
            return
        }
        finish(.failure(failure))
    }

    func backendWritabilityChanged(isWritable: Bool) {}
    func backendReadComplete() {}

    /// The permit goes back first, so that whoever waits is served before this session's next event.
    private func finish(_ outcome: Outcome) {
        connection = nil
        let now = NIODeadline.now()
        shard.state.gate.release(
            delivery.event.lane,
            address: address,
            CircuitBreaker.Outcome(outcome),
            on: shard.eventLoop,
            at: now
        )
        let metrics = shard.metrics.webhook(for: delivery.event)
        metrics.duration.recordNanoseconds((now - startedAt).nanoseconds)
        switch outcome {
        case .success(let reply) where (200..<300).contains(reply.head.status): metrics.answered.increment()
        case .success(let reply): metrics.failed(.status(reply.head.status))
        case .failure(let failure): metrics.failed(failure)
        }
        session.completed(delivery, outcome)
    }
}

extension CircuitBreaker.Outcome {
    /// What a call says about the health of the app's address.
    fileprivate init(_ outcome: WebhookCall.Outcome) {
        switch outcome {
        case .success(let reply) where reply.head.status == 429: self = .neutral
        case .success(let reply): self = reply.head.status >= 500 ? .failure : .success
        case .failure(.badReply): self = .neutral
        case .failure: self = .failure
        }
    }
}
