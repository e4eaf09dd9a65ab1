import DeliveryOutbox
import Logging
import NIOCore
import SidecarCore
import Synchronization

extension EdgeService {
    /// The longest wait until the engine knows which connections have ended.
    private static let longestStrike = TimeAmount.seconds(1)

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
        await wait(until: deadline) {
            await shards.allSatisfy { $0.isWithoutSessions } && state.moves?.isSettled ?? true
        }
        for listener in listeners { try? await listener.close().get() }
        await shards.forEach { $0.clients.registry.drainRequests() }
        await wait(until: deadline) { await shards.allSatisfy { $0.isQuiet } && occupancy?.isSettled ?? true }
        state.gate.stop()
        await state.moves?.giveUp()
        let fates = await shards.collect { $0.endNow() }.joined()
        tell(of: fates.count { $0 == .kept }, .notice, "undelivered events are kept for the next start")
        tell(of: fates.count { $0 == .left }, .notice, "close events are left to other nodes")
        tell(of: fates.count { $0 == .lost }, .error, "close events were not delivered")
        if let unreported = occupancy?.unreported, unreported > 0 {
            metrics.messagesDropped(unreported, reason: .channelEventUndelivered)
            logger.error("channel events were not delivered", metadata: ["count": .stringConvertible(unreported)])
        }
        if state.outbox?.close() == false { logger.error("the outbox could not be flushed") }
        // The others tell the app of the end of every connection that is still registered.
        await wait(until: .now() + Self.longestStrike) {
            await shards.allSatisfy { $0.registrations?.isSettled ?? true }
        }
        logger.notice("drained")
    }

    private func tell(of count: Int, _ level: Logger.Level, _ message: Logger.Message) {
        guard count > 0 else { return }
        logger.log(level: level, message, metadata: ["count": .stringConvertible(count)])
    }

    private func wait(until deadline: NIODeadline, for condition: () async -> Bool) async {
        while NIODeadline.now() < deadline {
            if await condition() { return }
            try? await Task.sleep(for: .milliseconds(20))
        }
    }
}
