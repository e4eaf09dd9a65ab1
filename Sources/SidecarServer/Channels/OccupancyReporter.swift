import Logging
import NIOCore
import SidecarCore

/// Delivers the events of channels to the app; on one loop only.
final class OccupancyReporter: TimerOwner {
    /// The most events that are with the app or wait for another attempt.
    private static let maxInFlight = 64
    private static let interval = TimeAmount.milliseconds(100)

    private let occupancy: Occupancy
    private let context: SessionContext
    private let timer = TimerEntry()
    /// Random; makes the event ids unique to this process.
    private let process = ConnectionID.make()
    private var count: UInt64 = 0
    private var inFlight: [UInt64: OccupancyDelivery] = [:]
    private var isSending = false

    init(_ occupancy: Occupancy, context: SessionContext) {
        self.occupancy = occupancy
        self.context = context
    }

    func start() { context.timers.arm(timer, owner: self, at: .now() + Self.interval) }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        sendDue(at: now)
        return now + Self.interval
    }

    private func sendDue(at now: NIODeadline) {
        guard !isSending else { return }  // an event ended at once; the loop below continues
        isSending = true
        defer { isSending = false }
        while inFlight.count < Self.maxInFlight, let event = occupancy.next(at: now) {
            count += 1
            let number = count
            let delivery = OccupancyDelivery(event, id: "\(process)-\(number)", of: occupancy, context: context) {
                [weak self] in
                self?.inFlight[number] = nil
                self?.sendDue(at: .now())
            }
            inFlight[number] = delivery
            delivery.start()
        }
        guard let engine = context.state.engine else { return }
        for event in occupancy.takeUndone() { engine.told(of: event.channel, isOccupied: event.isOccupied) }
    }
}

/// One event of a channel on its way to the app.
private final class OccupancyDelivery: WebhookDeliveryOwner {
    private let event: OccupancyEvent
    private let id: String
    private let occupancy: Occupancy
    private let context: SessionContext
    private let done: () -> Void
    private var delivery: WebhookDelivery?

    /// - Parameter done: Called once, when the app has accepted the event or this has given up.
    init(
        _ event: OccupancyEvent,
        id: String,
        of occupancy: Occupancy,
        context: SessionContext,
        done: @escaping () -> Void
    ) {
        self.event = event
        self.id = id
        self.occupancy = occupancy
        self.context = context
        self.done = done
    }

    deinit { delivery?.cancel() }

    func start() {
        let delivery = ChannelEventDelivery(
            event,
            id: id,
            metrics: context.metrics.channel,
            owner: self,
            logFields: ["channel": "\(event.channel.text)"],
            webhooks: context.webhooks
        )
        self.delivery = delivery
        delivery.start(at: .now())
    }

    func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects {
        switch result {
        case .taken(_, .success(let reply)):
            for publication in reply.publications { context.channels.publish(publication, excluding: nil) }
            reported()
        case .taken(_, .failure(let failure)):
            // The event counts as delivered, whatever the reply asks for.
            log(failure, level: .warning, "the reply to an event is invalid")
            reported()
        case .refused, .failed, .turnedAway:
            if let failure = result.failure { gaveUp(failure) }
        }
        done()
        return ReplyEffects()
    }

    private func reported() {
        occupancy.reported(event.channel)
        context.state.engine?.told(of: event.channel, isOccupied: event.isOccupied)
    }

    private func gaveUp(_ failure: DeliveryFailure) {
        if failure.isTransient, occupancy.notReported(event.channel) {
            log(failure, level: .warning, "delivery of a channel event failed; will retry")
        } else {
            if !failure.isTransient { reported() }
            log(failure, level: .error, "delivery of a channel event failed")
            context.metrics.messagesDropped(1, reason: .channelEventUndelivered)
        }
    }

    private func log(_ failure: DeliveryFailure, level: Logger.Level, _ message: Logger.Message) {
        context.log.logger.log(
            level: level,
            message,
            metadata: [
                "channel": "\(event.channel.text)", "event": "\(event.name)",
                "event_id": "\(id)", "why": "\(failure.sentence)",
            ]
        )
    }
}
