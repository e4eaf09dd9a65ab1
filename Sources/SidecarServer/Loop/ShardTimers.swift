import NIOCore
import SidecarCore

/// Something with a deadline.
protocol TimerOwner: AnyObject {
    /// The deadline has passed; return the next one, or nil for none.
    func deadlineReached(at now: NIODeadline) -> NIODeadline?
}

/// The deadline of one owner in the timers of its loop.
///
/// A later deadline only changes the number here: the wheel finds out when the old one comes up.
final class TimerEntry {
    fileprivate var owner: (any TimerOwner)?
    fileprivate var deadline: NIODeadline?
    fileprivate var filedAt: NIODeadline?

    init() {}
}

/// A deadline for an owner that has several: it calls back.
final class CallbackTimer: TimerOwner {
    private var entry: TimerEntry?
    private var action: ((_ now: NIODeadline) -> Void)?

    /// Sets the deadline and what to do then, replacing both.
    func arm(in timers: ShardTimers, at deadline: NIODeadline, _ action: @escaping (_ now: NIODeadline) -> Void) {
        let entry = entry ?? TimerEntry()
        self.entry = entry
        self.action = action
        timers.arm(entry, owner: self, at: deadline)
    }

    func cancel(in timers: ShardTimers) {
        if let entry { timers.cancel(entry) }
        entry = nil
        action = nil
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        let due = action
        entry = nil
        action = nil
        due?(now)
        return nil
    }
}

/// All deadlines of one event loop behind a single scheduled task, which rests when nothing is armed.
///
/// A scheduled NIO task per connection would sit in a heap whose cancel is a linear scan.
final class ShardTimers {
    private static let tick = TimeAmount.milliseconds(50)
    let eventLoop: any EventLoop
    private var wheel: TimerWheel<(entry: TimerEntry, filedAt: NIODeadline)>
    private var isTicking = false

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.wheel = TimerWheel(startingAt: eventLoop.now, tick: Self.tick)
    }

    /// Sets the deadline of an entry, replacing the one it had.
    func arm(_ entry: TimerEntry, owner: any TimerOwner, at deadline: NIODeadline) {
        if entry.owner !== owner { entry.owner = owner }
        entry.deadline = deadline
        if let filedAt = entry.filedAt, filedAt <= deadline { return }
        file(entry, at: deadline)
    }

    /// Forgets the deadline of an entry and lets go of its owner.
    func cancel(_ entry: TimerEntry) {
        entry.owner = nil
        entry.deadline = nil
    }

    private func file(_ entry: TimerEntry, at deadline: NIODeadline) {
        entry.filedAt = deadline
        wheel.add((entry, deadline), at: deadline)
        if !isTicking { scheduleTick() }
    }

    private func scheduleTick() {
        isTicking = true
        // The wheel may have rested: without this, its time would still be that of the last tick.
        let due = max(wheel.nextTick, eventLoop.now + Self.tick)
        eventLoop.assumeIsolated().scheduleTask(deadline: due) { self.turn() }
    }

    private func turn() {
        let now = eventLoop.now
        for (entry, filedAt) in wheel.advance(to: now) {
            guard entry.filedAt == filedAt else { continue }  // filed again, earlier
            entry.filedAt = nil
            guard let deadline = entry.deadline, let owner = entry.owner else { continue }
            if deadline > now {
                file(entry, at: deadline)
                continue
            }
            entry.deadline = nil
            if let next = owner.deadlineReached(at: now) {
                arm(entry, owner: owner, at: next)
            } else if entry.deadline == nil {
                cancel(entry)  // unless the owner has armed it meanwhile
            }
        }
        isTicking = false
        if wheel.count > 0 { scheduleTick() }
    }
}
