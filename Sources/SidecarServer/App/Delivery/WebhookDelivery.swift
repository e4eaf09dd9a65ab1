import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// The owner of an event; it is told once how the delivery ended.
protocol WebhookDeliveryOwner: AnyObject {
    /// The delivery is over.
    ///
    /// - Returns: What the owner could do with the reply.
    func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects
}

/// One event on its way to the app: its turn, its attempts, the pauses between them, and the reply.
///
/// ```
///          ┌─────────────── pausing ◀───────────┐ may be tried again
///          ▼                                     │
/// start ─▶ waiting for a permit ─▶ calling ──────┴─▶ over
/// ```
/// Subclasses write the request. The gate, a timer or a connection to the app keeps it alive. It does not keep its
/// owner alive: an owner that is released before the end has to ``cancel()`` it.
class WebhookDelivery: AppExchange, WebhookCaller, TimerOwner {
    /// What follows when an attempt fails.
    enum Persistence {
        /// One attempt for each address that refuses the connection, since a client waits.
        case eachAddressOnce
        /// Retries as long as `WEBHOOK_RETRY_FOR` says.
        ///
        /// - Parameter waits: Whether it waits longer for its first turn while no address can be called.
        case retries(waits: Bool)
    }

    private enum State {
        case idle
        case waiting
        case calling
        case pausing
        case over
    }

    /// Attempts that have failed.
    private(set) var failures = 0

    let webhooks: WebhookContext
    private let metrics: WebhookMetrics
    private let persistence: Persistence
    private let lane: PermitLane
    /// The number of messages in the event, or 1.
    let count: Int
    private var state = State.idle
    // Not weak, which would allocate a side table for each session.
    private unowned var owner: (any WebhookDeliveryOwner)?
    /// The fields that identify the owner in the log; empty unless attempts are logged.
    let logFields: Logger.Metadata
    // The queue of the gate holds the ticket, which holds the delivery.
    private weak var ticket: WebhookTicket?
    private var timer: TimerEntry?
    /// When the first attempt was due.
    private var dueSince = NIODeadline.distantFuture
    /// Addresses that have refused the connection.
    private var refusedBy: Set<Int> = []

    // The attempt.
    private var askedAt = NIODeadline.distantFuture
    private var startedAt = NIODeadline.distantFuture
    private var address = 0
    private var connection: AppConnection?
    private var reply = ReplyCollector()
    private var isRepeated = false
    /// The reply with which the app has refused the event for good.
    private(set) var rejection: (HTTPReplyHead, ByteBuffer)?

    init(
        lane: PermitLane,
        count: Int,
        persistence: Persistence,
        metrics: WebhookMetrics,
        owner: any WebhookDeliveryOwner,
        logFields: @autoclosure () -> Logger.Metadata,
        webhooks: WebhookContext
    ) {
        self.lane = lane
        self.count = count
        self.persistence = persistence
        self.metrics = metrics
        self.owner = owner
        self.logFields = webhooks.logsAttempts ? logFields() : [:]
        self.webhooks = webhooks
    }

    // MARK: For subclasses

    /// The value of `ce-id`.
    var eventID: String { preconditionFailure("a subclass says it") }
    /// The last part of `ce-type`, for the log.
    var eventName: String { preconditionFailure("a subclass says it") }
    /// Whether what came of the reply is in the log.
    var logsEffects: Bool { true }
    /// Writes the request, head and body.
    ///
    /// - Parameter signedAt: The time of this attempt, in seconds since 1970.
    func writeRequest(with dialect: any WebhookDialect, signedAt: Int64, into buffer: inout ByteBuffer) {
        preconditionFailure("a subclass writes it")
    }

    // MARK: For the owner

    /// True while it waits for its turn and the app has not been called yet.
    var isWaiting: Bool {
        if case .waiting = state { true } else { false }
    }

    /// Requests the turn for the first attempt, unless it was cancelled before.
    func start(at now: NIODeadline) {
        guard case .idle = state else { return }
        dueSince = now
        askForTurn(at: now)
    }

    /// From now on somebody else is told how it ends.
    func hand(to owner: any WebhookDeliveryOwner) { self.owner = owner }

    /// Detaches the owner. A call in flight goes on, but its result is ignored.
    func cancel() {
        owner = nil
        stopTimer()
        if let ticket { webhooks.gate.giveUp(ticket) }
        if case .calling = state { return }
        state = .over
    }

    // MARK: The turn

    private func askForTurn(at now: NIODeadline) {
        askedAt = now
        switch webhooks.gate.acquire(lane, for: self, otherThan: refusedBy, on: webhooks.eventLoop, at: now) {
        case .granted(let address):
            call(address, at: now)
        case .queued(let ticket):
            state = .waiting
            self.ticket = ticket
            if case .retries(waits: false) = persistence { watchQueue(at: now) }
        case .full: end(.turnedAway(.queueFull))
        case .unavailable: end(.turnedAway(.unavailable))
        }
    }

    func permitGranted(_ ticket: WebhookTicket, address: Int) {
        let now = webhooks.eventLoop.now
        guard case .waiting = state, ticket === self.ticket else {
            // It has given up its turn: the client has gone, or has waited too long.
            webhooks.gate.release(lane, address: address, .neutral, on: webhooks.eventLoop, at: now)
            return
        }
        stopTimer()
        call(address, at: now)
    }

    /// While no address can be called, waiting for a turn uses up the time for retries; but it always waits as long as
    /// one attempt may take.
    private func watchQueue(at now: NIODeadline) {
        let settings = webhooks.configuration.settings
        let deadline = dueSince + max(settings.webhookRetryFor, settings.webhookTimeout)
        arm(at: max(deadline, now + .seconds(1)))
    }

    private func waitedLong(at now: NIODeadline) {
        guard case .waiting = state, let ticket else { return }
        // Other events come first, or an address is being probed right now.
        if !webhooks.gate.isEveryAddressFailing { return watchQueue(at: now) }
        webhooks.gate.giveUp(ticket)
        end(.failed(.connect("the circuit breaker is open on every address.")))
    }

    // MARK: The attempt

    private func call(_ address: Int, at now: NIODeadline) {
        metrics.wait.recordNanoseconds((now - askedAt).nanoseconds)
        state = .calling
        self.address = address
        startedAt = now
        isRepeated = false
        run(fresh: false)
    }

    private func run(fresh: Bool) {
        if !webhooks.app.call(address, for: self, fresh: fresh) {
            attemptFailed(.connect("it has no such address."))
        }
    }

    /// The app gets the event even when its client has gone.
    var isCancelled: Bool { false }
    /// The parts of a reply are not needed.
    var takesWholeReplies: Bool { true }

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        let configuration = webhooks.configuration
        connection.expectReply(to: .other, by: startedAt + configuration.settings.webhookTimeout)
        let signedAt = configuration.dialect.isSigned ? WallClock.unixMilliseconds() / 1000 : 0
        connection.sendWhole { writeRequest(with: configuration.dialect, signedAt: signedAt, into: &$0) }
    }

    func appReplied(_ part: HTTPReplyPart) {
        switch reply.take(part, limit: webhooks.configuration.settings.maxReplyBytes) {
        case .incomplete:
            break
        case .complete(let head, let body):
            attemptAnswered(head, body)
        case .tooLarge:
            connection?.abort()
            attemptFailed(.tooLargeReply)
        }
    }

    func appReplied(_ head: HTTPReplyHead, _ body: ByteBuffer) {
        if body.readableBytes > webhooks.configuration.settings.maxReplyBytes {
            attemptFailed(.tooLargeReply)
        } else {
            attemptAnswered(head, body)
        }
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        if wasStale, !isRepeated {
            // The app has not seen the event, or recognises it by its `ce-id`.
            isRepeated = true
            metrics.retries.increment()
            run(fresh: true)
        } else {
            attemptFailed(failure)
        }
    }

    func appWritabilityChanged(isWritable: Bool) {}
    func appReadComplete() {}

    // MARK: The end of an attempt

    private func attemptAnswered(_ head: HTTPReplyHead, _ body: ByteBuffer) {
        let now = connection?.repliedAt ?? webhooks.eventLoop.now
        guard (200..<300).contains(head.status) else {
            let failure = DeliveryFailure.status(head.status)
            attemptIsOver(CircuitBreaker.Outcome(failure), at: now)
            metrics.failed(failure)
            guard case .retries = persistence else {
                end(.refused(head, body), after: .answered(head))
                return
            }
            if !failure.isTransient { rejection = (head, body) }
            return settle(failure, after: .answered(head), at: now)
        }
        attemptIsOver(.success, at: now)
        let effects: ReplyEffects
        do throws(DeliveryFailure) {
            effects = end(
                .taken(head, .success(try webhooks.configuration.dialect.decode(head, body, events: count))),
                after: .answered(head)
            )
        } catch {
            end(.taken(head, .failure(error)), after: .answered(head))
            return metrics.failed(error)
        }
        if let fault = effects.fault { metrics.failed(fault) } else { metrics.answered.increment() }
    }

    private func attemptFailed(_ failure: DeliveryFailure) {
        let now = webhooks.eventLoop.now
        attemptIsOver(CircuitBreaker.Outcome(failure), at: now)
        metrics.failed(failure)
        settle(failure, after: .failed(failure), at: now)
    }

    /// The permit goes back first, so that waiting events are served before the owner's next event.
    private func attemptIsOver(_ outcome: CircuitBreaker.Outcome, at now: NIODeadline) {
        connection = nil
        webhooks.gate.release(lane, address: address, outcome, on: webhooks.eventLoop, at: now)
        metrics.duration.recordNanoseconds((now - startedAt).nanoseconds)
    }

    /// Retries the event if that may help, now or later; otherwise ends the delivery.
    private func settle(_ failure: DeliveryFailure, after attempt: Attempt, at now: NIODeadline) {
        guard owner != nil else { return state = .over }
        reply = ReplyCollector()
        switch persistence {
        case .eachAddressOnce:
            // No connection came up, so the app has not seen the event.
            guard case .connect = failure, failures + 1 < webhooks.configuration.settings.webhookOrigins.count else {
                break
            }
            if webhooks.logsAttempts { log(attempt) }
            failures += 1
            refusedBy = refusedBy.union([address])
            metrics.retries.increment()
            return askForTurn(at: now)
        case .retries:
            guard failure.isTransient, let pause = pause(after: attempt, at: now) else { break }
            if webhooks.logsAttempts { log(attempt) }
            failures += 1
            if case .connect = failure { refusedBy = [address] }
            state = .pausing
            return arm(at: now + pause)
        }
        end(.failed(failure), after: attempt)
    }

    private func pause(after attempt: Attempt, at now: NIODeadline) -> TimeAmount? {
        webhooks.configuration.retryPolicy.delay(
            afterFailures: failures + 1,
            since: dueSince,
            now: now,
            retryAfter: attempt.retryAfter,
            jitter: .random(in: 0..<1)
        )
    }

    /// - Parameter attempt: The last one; nil when the app was not asked.
    @discardableResult
    private func end(_ result: WebhookResult, after attempt: @autoclosure () -> Attempt? = nil) -> ReplyEffects {
        stopTimer()
        state = .over
        guard let owner else { return ReplyEffects() }
        self.owner = nil
        let effects = owner.deliveryEnded(self, result)
        if webhooks.logsAttempts, let attempt = attempt() { log(attempt, effects) }
        return effects
    }

    /// The duration of the attempt so far.
    var attemptDuration: TimeAmount { webhooks.eventLoop.now - startedAt }

    // MARK: Deadlines

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        timer = nil
        switch state {
        case .waiting: waitedLong(at: now)
        case .pausing:
            metrics.retries.increment()
            askForTurn(at: now)
        case .idle, .calling, .over: break
        }
        return nil
    }

    private func arm(at deadline: NIODeadline) {
        let entry = timer ?? TimerEntry()
        timer = entry
        webhooks.timers.arm(entry, owner: self, at: deadline)
    }

    private func stopTimer() {
        guard let timer else { return }
        webhooks.timers.cancel(timer)
        self.timer = nil
    }
}
