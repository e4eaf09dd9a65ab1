import NIOCore
import SidecarCore

/// Removes expired messages from the histories of the broker in memory.
struct HistoryExpiry: Sendable {
    /// The time between two removals.
    private static let pause = TimeAmount.milliseconds(20)
    private static let longestPause = TimeAmount.seconds(1)

    private let broker: MemoryChannelBroker

    init(of broker: MemoryChannelBroker) {
        self.broker = broker
    }

    /// Begins, on one loop only. While no message is due, only the time is checked.
    func start(on eventLoop: any EventLoop) {
        let due = broker.removeExpired() ?? Self.longestPause
        let pause = min(max(due, Self.pause), Self.longestPause)
        eventLoop.assumeIsolated().scheduleTask(in: pause) { start(on: eventLoop) }
    }
}
