import CoreMetrics
import HTTP1
import NIOCore
import SidecarCore

/// One event on its way to the app, over all its attempts, and the answer on its way back.
///
/// Subclasses say what the event is and what follows from the answer.
class WebhookCall: AppExchange {
    /// What became of an attempt.
    typealias Outcome = Result<(head: HTTPReplyHead, body: ByteBuffer), DeliveryFailure>

    let shard: LoopShard
    let lane: PermitLane
    let metrics: ServerMetrics.Webhook
    /// When its turn came.
    private(set) var dueSince = NIODeadline.distantFuture
    /// Attempts that have failed.
    var failures = 0

    // The attempt under way.
    private var askedAt = NIODeadline.distantFuture
    private(set) var startedAt = NIODeadline.distantFuture
    private(set) var address = 0
    private var connection: AppConnection?
    private var head: HTTPReplyHead?
    private var status = 0
    private var body: ByteBuffer?
    private var hasRetried = false

    /// - Parameter lane: The one on which its permits are taken.
    init(lane: PermitLane, metrics: ServerMetrics.Webhook, shard: LoopShard) {
        self.lane = lane
        self.metrics = metrics
        self.shard = shard
    }

    // MARK: For subclasses

    /// Writes the request of the event; asked for again, with the same bytes, when it must be repeated.
    func writeRequest(into buffer: inout ByteBuffer) {}
    /// The app has answered, or the attempt has failed.
    func completed(_ outcome: Outcome) {}

    // MARK: An attempt

    /// A permit is asked for.
    func asked(at now: NIODeadline) {
        askedAt = now
        dueSince = min(dueSince, now)
    }

    /// Calls the address that the gate has chosen.
    func call(address: Int, at now: NIODeadline) {
        metrics.wait.recordNanoseconds((now - askedAt).nanoseconds)
        self.address = address
        startedAt = now
        head = nil
        body = nil
        hasRetried = false
        run(fresh: false)
    }

    /// The app gets the event even when its client has gone.
    var isCancelled: Bool { false }

    private func run(fresh: Bool) {
        if let pool = shard.webhookPool(address) {
            pool.run(self, fresh: fresh)
        } else {
            finish(.failure(.connect("it has no such address.")))
        }
    }

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: startedAt + shard.configuration.settings.webhookTimeout)
        connection.sendWhole { writeRequest(into: &$0) }
    }

    func appReplied(_ part: HTTPReplyPart) {
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
            finish(.success((head, body.take() ?? ByteBuffer())), at: connection?.repliedAt)
        }
    }

    /// Nobody else looks at the parts of an answer.
    var takesWholeReplies: Bool { true }

    func appReplied(_ head: HTTPReplyHead, _ body: ByteBuffer) {
        status = head.status
        if body.readableBytes > shard.configuration.settings.maxReplyBytes {
            finish(.failure(.badReply("Its body is larger than MAX_REPLY_BYTES.")))
        } else {
            finish(.success((head, body)), at: connection?.repliedAt)
        }
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        if wasStale, !hasRetried {
            // The app saw nothing of it, or will know it by its ce-id.
            hasRetried = true
            metrics.retries.increment()
            run(fresh: true)
            return
        }
        finish(.failure(failure))
    }

    func appWritabilityChanged(isWritable: Bool) {}
    func appReadComplete() {}

    private func failure(of outcome: Outcome) -> DeliveryFailure? {
        if case .failure(let failure) = outcome { return failure }
        return (200..<300).contains(status) ? nil : .status(status)
    }

    /// The permit goes back first, so that whoever waits is served before this session's next event.
    ///
    /// - Parameter now: The time, if the caller knows it.
    private func finish(_ outcome: Outcome, at now: NIODeadline? = nil) {
        connection = nil
        let now = now ?? .now()
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
        completed(outcome)
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
