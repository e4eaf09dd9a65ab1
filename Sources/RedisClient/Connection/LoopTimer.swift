import NIOCore

/// A timer of an event loop that can be set again and again, and calls only when its last setting is due.
final class LoopTimer {
    private let eventLoop: any EventLoop
    private let action: () -> Void
    private var scheduled: Scheduled<Void>?
    /// When it is going to call; nil when it is not set.
    private(set) var due: NIODeadline?

    /// - Parameter action: Called on the event loop; must not keep the timer's owner alive.
    init(eventLoop: any EventLoop, action: @escaping () -> Void) {
        self.eventLoop = eventLoop
        self.action = action
    }

    /// Calls at `deadline` at the latest; a nearer setting stays.
    func setNoLater(than deadline: NIODeadline) {
        if let due, due <= deadline { return }
        scheduled?.cancel()
        due = deadline
        scheduled = eventLoop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in self?.fire() }
    }

    /// Forgets the setting.
    func cancel() {
        scheduled?.cancel()
        scheduled = nil
        due = nil
    }

    private func fire() {
        scheduled = nil
        due = nil
        action()
    }
}
