import NIOCore
import SidecarCore

/// A pause in which nothing is read, because a rate is exceeded.
final class SessionThrottle {
    private static let firstLook = TimeAmount.milliseconds(100)

    let entry = TimerEntry()
    /// The limit, until the pause has been counted.
    var uncounted: DryRunLimit?
    var ends: NIODeadline
    private let began: NIODeadline

    init(_ limit: DryRunLimit, at now: NIODeadline) {
        uncounted = limit
        began = now
        ends = now
    }

    /// When to check for waiting input, at growing intervals, or to resume reading.
    func nextLook(at now: NIODeadline) -> NIODeadline {
        uncounted == nil ? ends : min(ends, now + max(now - began, Self.firstLook))
    }
}
