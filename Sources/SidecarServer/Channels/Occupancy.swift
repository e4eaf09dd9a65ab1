import NIOCore
import SidecarCore
import Synchronization

/// An ``OccupancyWatch`` for all event loops (`CHANNEL_EVENTS`).
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
