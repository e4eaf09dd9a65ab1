import CoreMetrics
import NIOCore
import SidecarCore

/// Somebody who has one event under way.
protocol WebhookSource: WebhookCaller {
    /// Writes the request of the event; asked for again, with the same bytes, when it must be repeated.
    func writeRequest(into buffer: inout ByteBuffer)
    /// The app has answered, or the call has failed.
    func completed(_ outcome: WebhookCall.Outcome)
}

/// One attempt to bring an event to the app, and the answer on its way back.
final class WebhookCall: BackendExchange {
    /// What became of the call.
    typealias Outcome = Result<(head: HTTPReplyHead, body: ByteBuffer), DeliveryFailure>

    private let source: any WebhookSource
    private let lane: PermitLane
    private let metrics: ServerMetrics.Webhook
    private let address: Int
    private let shard: LoopShard
    private let startedAt: NIODeadline
    private var connection: BackendConnection?
    private var head: HTTPReplyHead?
    private var status = 0
    private var body: ByteBuffer?
    private var hasRetried = false

    /// - Parameters:
    ///   - lane: The one on which its permit was taken.
    ///   - address: The address of the app that the gate has chosen.
    init(
        of source: any WebhookSource,
        lane: PermitLane,
        metrics: ServerMetrics.Webhook,
        address: Int,
        shard: LoopShard,
        at now: NIODeadline
    ) {
        self.source = source
        self.lane = lane
        self.metrics = metrics
        self.address = address
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
        connection.sendWhole { source.writeRequest(into: &$0) }
    }

    func backendReplied(_ part: HTTPReplyPart) {
        switch part {
        case .informational:
            break
        case .head(let head):
            self.head = head
            status = head.status
        case .body(let bytes):
            if (body?.readableBytes ?? 0) + bytes.readableBytes > shard.configuration.settings.maxReplyBytes {
                connection?.abort()
                finish(.failure(.badReply("Its body is larger than MAX_REPLY_BYTES.")))
            } else if body == nil {
                body = bytes
            } else {
                body?.writeImmutableBuffer(bytes)
            }
        case .end:
            // Moved out, since nobody needs it here any more.
            guard let head = head.take() else { return }
            finish(.success((head, body.take() ?? ByteBuffer())))
        }
    }

    func backendFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        if wasStale, !hasRetried {
            // The app saw nothing of it, or will know it by its ce-id.
            hasRetried = true
            metrics.retries.increment()
            run(fresh: true)
            return
        }
        finish(.failure(failure))
    }

    func backendWritabilityChanged(isWritable: Bool) {}
    func backendReadComplete() {}

    private func failure(of outcome: Outcome) -> DeliveryFailure? {
        if case .failure(let failure) = outcome { return failure }
        return (200..<300).contains(status) ? nil : .status(status)
    }

    /// The permit goes back first, so that whoever waits is served before this session's next event.
    private func finish(_ outcome: Outcome) {
        connection = nil
        let now = NIODeadline.now()
        let failure = failure(of: outcome)
        shard.state.gate.release(
            lane,
            address: address,
            CircuitBreaker.Outcome(failure),
            on: shard.eventLoop,
            at: now
        )
        metrics.duration.recordNanoseconds((now - startedAt).nanoseconds)
        if let failure {
            metrics.failed(failure)
        } else {
            metrics.answered.increment()
        }
        source.completed(outcome)
    }
}

extension CircuitBreaker.Outcome {
    /// What a call says about the health of the app's address; nil: it was answered with a 2xx.
    fileprivate init(_ failure: DeliveryFailure?) {
        switch failure {
        case nil: self = .success
        case .status(429), .badReply: self = .neutral
        case .status(let status): self = status >= 500 ? .failure : .success
        case .timeout, .connect, .connectionLost: self = .failure
        }
    }
}
