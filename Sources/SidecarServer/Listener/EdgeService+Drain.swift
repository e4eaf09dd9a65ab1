import DeliveryOutbox
import Logging
import NIOCore
import SidecarCore
import Synchronization

extension EdgeService {
    /// Delivers what is owed to the app and closes all connections, within `DRAIN_TIMEOUT`.
    func drain(_ shards: ShardDirectory, _ listeners: [any Channel]) async {
        let timeout = live.withLock { $0.configuration.settings.drainTimeout }
        let deadline = NIODeadline.now() + timeout
        let occupancy = state.channels.occupancy
        state.beginDrain()
        occupancy?.flush()
        logger.notice("draining", metadata: ["connections": .stringConvertible(state.sockets)])
        // Clients that still come get a response, WebSockets a 503, since the balancer may not know yet.
        let most = TimeAmount.nanoseconds(Int64(Double(timeout.nanoseconds) * ServerConfiguration.drainSpread))
        let span = DrainSchedule.span(connections: state.sessions, atMost: most)
        await shards.forEach { $0.sessions.drain(over: span) }
        await wait(until: deadline) { await shards.allSatisfy { $0.isWithoutSessions } }
        for listener in listeners { try? await listener.close().get() }
        await shards.forEach { $0.clients.registry.drainRequests() }
        await wait(until: deadline) { await shards.allSatisfy { $0.isQuiet } && occupancy?.isSettled ?? true }
        state.gate.stop()
        let left = await shards.sum { $0.endNow() }
        if left > 0 {
            let isKept = state.outboxIsWritable == true
            logger.log(
                level: isKept ? .notice : .error,
                isKept ? "undelivered events are kept for the next start" : "close events were not delivered",
                metadata: ["count": .stringConvertible(left)]
            )
        }
        if let unreported = occupancy?.unreported, unreported > 0 {
            metrics.messagesDropped(unreported, reason: .channelEventUndelivered)
            logger.error("channel events were not delivered", metadata: ["count": .stringConvertible(unreported)])
        }
        if state.outbox?.close() == false { logger.error("the outbox could not be flushed") }
        logger.notice("drained")
    }

    private func wait(until deadline: NIODeadline, for condition: () async -> Bool) async {
        while NIODeadline.now() < deadline {
            if await condition() { return }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}
