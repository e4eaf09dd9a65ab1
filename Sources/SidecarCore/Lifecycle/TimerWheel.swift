public import NIOCore

/// A hashed timer wheel: deadlines grouped into ticks, so arming costs O(1) whatever is armed already.
///
/// Pure: the time is an argument, and entries that are due are returned to the caller. A deadline beyond the wheel's
/// span is filed in its last slot and comes out early; the caller files it again. There is no cancel: the caller
/// ignores an entry that no longer matters when it comes out.
public struct TimerWheel<Element> {
    private var slots: [[Element]]
    private let tick: Int64
    private let origin: NIODeadline
    private var current: Int64 = 0

    /// Entries filed and not yet taken out.
    public private(set) var count = 0

    /// Makes a wheel whose time starts at `now`.
    ///
    /// - Parameters:
    ///   - now: The moment of tick zero.
    ///   - tick: The resolution; no entry fires before its deadline, and at most one tick after it.
    ///   - slots: The span of the wheel in ticks.
    public init(startingAt now: NIODeadline, tick: TimeAmount, slots: Int = 512) {
        self.slots = Array(repeating: [], count: max(slots, 2))
        self.tick = max(tick.nanoseconds, 1)
        self.origin = now
    }

    /// Files an entry under its deadline.
    public mutating func add(_ element: Element, at deadline: NIODeadline) {
        let wait = max((deadline - origin).nanoseconds, 0)
        let due = wait / tick + (wait % tick == 0 ? 0 : 1)  // rounded up, without overflow for the distant future
        let slot = min(max(due, current + 1), current + Int64(slots.count) - 1)
        slots[Int(slot % Int64(slots.count))].append(element)
        count += 1
    }

    /// Takes out everything filed up to `now`, in the order of the ticks.
    ///
    /// An entry whose deadline lies beyond the wheel's span may be among them; the caller then files it again.
    public mutating func advance(to now: NIODeadline) -> [Element] {
        let target = max((now - origin).nanoseconds, 0) / tick
        guard target > current else { return [] }
        var due: [Element] = []
        // After a long stop (SIGSTOP, a suspended VM) one turn of the wheel visits every slot.
        let steps = min(target - current, Int64(slots.count))
        for step in 1...steps {
            let index = Int((current + step) % Int64(slots.count))
            if slots[index].isEmpty { continue }
            due.append(contentsOf: slots[index])
            slots[index] = []
        }
        current = target
        count -= due.count
        return due
    }

    /// The moment of the next tick, when the wheel should be advanced again.
    public var nextTick: NIODeadline {
        origin + .nanoseconds((current + 1) * tick)
    }
}
