import NIOCore
import SidecarCore
import Synchronization

/// An ``OccupancyWatch`` for all event loops (`CHANNEL_EVENTS`).
final class Occupancy: Sendable {
    private let watch: Mutex<OccupancyWatch>

    /// - Parameter isShared: Whether other nodes tell the app of channels, too.
    init(isShared: Bool) {
        watch = Mutex(OccupancyWatch(isShared: isShared))
    }

    var isSettled: Bool { watch.withLock { $0.isSettled } }
    var unreported: Int { watch.withLock { $0.unreported } }

    func changed(_ channel: ChannelName, isOccupied: Bool) {
        watch.withLock { $0.changed(channel, isOccupied: isOccupied, at: .now()) }
    }

    func next(at now: NIODeadline) -> OccupancyEvent? { watch.withLock { $0.next(at: now) } }
    func takeUndone() -> [OccupancyEvent] { watch.withLock { $0.takeUndone() } }
    func reported(_ channel: ChannelName) { watch.withLock { $0.reported(channel, at: .now()) } }
    func notReported(_ channel: ChannelName) -> Bool { watch.withLock { $0.notReported(channel, at: .now()) } }
    func flush() { watch.withLock { $0.flush() } }
}
