import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore
import Synchronization

/// ``OccupancyWatch`` for all event loops (`CHANNEL_EVENTS`).
final class Occupancy: Sendable {
    private let watch = Mutex(OccupancyWatch())

    var isSettled: Bool { watch.withLock { $0.isSettled } }
    var untold: Int { watch.withLock { $0.untold } }

    func changed(_ channel: ChannelName, isOccupied: Bool) {
        watch.withLock { $0.changed(channel, isOccupied: isOccupied, at: .now()) }
    }

    func next(at now: NIODeadline) -> OccupancyEvent? { watch.withLock { $0.next(at: now) } }
    func told(_ channel: ChannelName) { watch.withLock { $0.told(channel, at: .now()) } }
    func notTold(_ channel: ChannelName) -> Bool { watch.withLock { $0.notTold(channel, at: .now()) } }
    func flush() { watch.withLock { $0.flush() } }
}

/// Brings the events of channels to the app; on one loop only.
final class OccupancyReporter: TimerOwner {
    /// So many are with the app or wait for another attempt, at most.
    private static let maxUnderWay = 64
    private static let interval = TimeAmount.milliseconds(100)

    private let occupancy: Occupancy
    private unowned let shard: LoopShard
    private let timer = TimerEntry()
    /// Makes the ids of this process its own.
    private let process = ConnectionID.make()
    private var count: UInt64 = 0
    private var underWay = 0
    private var isSending = false

    init(_ occupancy: Occupancy, shard: LoopShard) {
        self.occupancy = occupancy
        self.shard = shard
    }

    func start() { shard.timers.arm(timer, owner: self, at: .now() + Self.interval) }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        sendDue(at: now)
        return now + Self.interval
    }

    private func sendDue(at now: NIODeadline) {
        guard !isSending else { return }  // an event that ended at once: the loop below goes on
        isSending = true
        defer { isSending = false }
        while underWay < Self.maxUnderWay, let event = occupancy.next(at: now) {
            underWay += 1
            count += 1
            OccupancyDelivery(event, id: "\(process)-\(count)", of: occupancy, shard: shard) {
                self.underWay -= 1
                self.sendDue(at: .now())
            }.start()
        }
    }
}

/// One event of a channel on its way to the app, over all attempts.
private final class OccupancyDelivery: WebhookCall, WebhookCaller {
    private let event: OccupancyEvent
    private let id: String
    private let occupancy: Occupancy
    private let done: () -> Void
    private let happenedAt = WallClock.unixMilliseconds()
    private let timer = CallbackTimer()

    /// - Parameter done: Called once, when the app has taken it or this is given up.
    init(
        _ event: OccupancyEvent,
        id: String,
        of occupancy: Occupancy,
        shard: LoopShard,
        done: @escaping () -> Void
    ) {
        self.event = event
        self.id = id
        self.occupancy = occupancy
        self.done = done
        super.init(lane: .closes, metrics: shard.metrics.channel, shard: shard)
    }

    func start() { attempt(at: .now()) }

    private func attempt(at now: NIODeadline) {
        asked(at: now)
        switch shard.state.gate.acquire(lane, for: self, on: shard.eventLoop, at: now) {
        case .granted(let address): call(address: address, at: now)
        case .queued: break  // the gate keeps it until its turn has come
        case .full, .unavailable: failed(.connect("the circuit breaker is open on every address."), retryAfter: nil)
        }
    }

    func permitGranted(_ ticket: WebhookTicket, address: Int) {
        call(address: address, at: .now())
    }

    override func writeRequest(into buffer: inout ByteBuffer) {
        let dialect = shard.configuration.dialect
        dialect.encode(
            event,
            id: id,
            unixMilliseconds: happenedAt,
            signedAt: dialect.isSigned ? WallClock.unixMilliseconds() / 1000 : 0,
            into: &buffer
        )
    }

    override func completed(_ outcome: Outcome) {
        logAttempt(outcome)
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            if !(200..<300).contains(head.status) { throw .status(head.status) }
            publish(head, body)
            occupancy.told(event.channel)
            done()
        } catch {
            failed(error, retryAfter: outcome.retryAfter)
        }
    }

    /// The event is delivered, whatever the answer asks for.
    private func publish(_ head: HTTPReplyHead, _ body: ByteBuffer) {
        do throws(DeliveryFailure) {
            for publication in try shard.configuration.dialect.decode(head, body).publications {
                shard.channels.publish(publication, excluding: nil)
            }
        } catch {
            log(error, level: .warning, "the reply to an event is invalid")
        }
    }

    private func failed(_ failure: DeliveryFailure, retryAfter: TimeAmount?) {
        let now = NIODeadline.now()
        failures += 1
        guard failure.isTransient,
            let delay = shard.configuration.retryPolicy.delay(
                afterFailures: failures,
                since: dueSince,
                now: now,
                retryAfter: retryAfter,
                jitter: .random(in: 0..<1)
            )
        else { return gaveUp(failure) }
        timer.arm(in: shard.timers, at: now + delay) { now in
            self.metrics.retries.increment()
            self.attempt(at: now)
        }
    }

    private func gaveUp(_ failure: DeliveryFailure) {
        if failure.isTransient, occupancy.notTold(event.channel) {
            log(failure, level: .warning, "delivery of a channel event failed; will retry")
        } else {
            if !failure.isTransient { occupancy.told(event.channel) }
            log(failure, level: .error, "delivery of a channel event failed")
            shard.metrics.messagesDropped(1, reason: "channel_event_undelivered")
        }
        done()
    }

    private func logAttempt(_ outcome: Outcome) {
        guard shard.logsEvents else { return }
        var metadata: Logger.Metadata = [
            "channel": "\(event.channel.text)", "event": "\(event.isOccupied ? "occupied" : "vacated")",
            "event_id": "\(id)", "attempt": .stringConvertible(failures + 1),
            "duration_ms": .stringConvertible(milliseconds),
        ]
        outcome.describe(in: &metadata)
        shard.logger.debug("event", metadata: metadata)
    }

    private func log(_ failure: DeliveryFailure, level: Logger.Level, _ message: Logger.Message) {
        shard.logger.log(
            level: level,
            message,
            metadata: [
                "channel": "\(event.channel.text)", "event": "\(event.isOccupied ? "occupied" : "vacated")",
                "event_id": "\(id)", "why": "\(failure.sentence)",
            ]
        )
    }
}
