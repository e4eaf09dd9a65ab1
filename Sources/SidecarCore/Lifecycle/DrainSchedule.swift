public import NIOCore

/// Spreads the closing of many connections evenly over a time.
///
/// The first one closes at once, so that a single connection causes no wait; the last one well before the time is over.
public struct DrainSchedule: Sendable, Equatable {
    /// The longest time between two connections: a few connections need no long drain.
    public static let longestStep = TimeAmount.milliseconds(10)

    private let startedAt: NIODeadline
    private let span: TimeAmount
    private let total: Int

    /// How many connections have been handed out.
    public private(set) var begun = 0

    /// A schedule for `total` connections.
    ///
    /// - Parameter span: The time from the first to one step after the last.
    public init(total: Int, startedAt: NIODeadline, span: TimeAmount) {
        self.total = max(total, 0)
        self.startedAt = startedAt
        self.span = max(span, .zero)
    }

    /// The time over which so many connections are closed, on all event loops.
    public static func span(connections: Int, atMost most: TimeAmount) -> TimeAmount {
        let (needed, isTooLong) = longestStep.nanoseconds.multipliedReportingOverflow(by: Int64(max(connections, 0)))
        return isTooLong ? most : min(most, .nanoseconds(needed))
    }

    /// True when all have been handed out.
    public var isOver: Bool { begun >= total }

    /// How many more are due at `now`; they count as handed out.
    public mutating func take(at now: NIODeadline) -> Int {
        let elapsed = now - startedAt
        let due: Int
        if elapsed >= span {
            due = total
        } else {
            let share = Double(max(elapsed.nanoseconds, 0)) / Double(span.nanoseconds)
            due = min(Int(share * Double(total)) + 1, total)
        }
        let more = max(due - begun, 0)
        begun += more
        return more
    }
}
