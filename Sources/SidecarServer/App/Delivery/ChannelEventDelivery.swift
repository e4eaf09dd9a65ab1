import Logging
import NIOCore
import SidecarCore

/// The delivery of an event of a channel.
final class ChannelEventDelivery: WebhookDelivery {
    private let event: OccupancyEvent
    private let id: String
    private let happenedAt = WallClock.unixMilliseconds()

    /// - Parameter id: The event's id, unique to it.
    init(
        _ event: OccupancyEvent,
        id: String,
        metrics: WebhookMetrics,
        owner: any WebhookDeliveryOwner,
        logFields: @autoclosure () -> Logger.Metadata,
        webhooks: WebhookContext
    ) {
        self.event = event
        self.id = id
        super.init(
            lane: .closes,
            count: 1,
            persistence: .retries(waits: true),
            metrics: metrics,
            owner: owner,
            logFields: logFields(),
            webhooks: webhooks
        )
    }

    override var eventID: String { id }
    override var eventName: String { event.name }

    override var logsEffects: Bool { false }

    override func writeRequest(with dialect: any WebhookDialect, signedAt: Int64, into buffer: inout ByteBuffer) {
        dialect.encode(event, id: id, unixMilliseconds: happenedAt, signedAt: signedAt, into: &buffer)
    }
}
