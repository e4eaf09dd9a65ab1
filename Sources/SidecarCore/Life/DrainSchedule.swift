public import NIOCore

/// Spreads the ends of many connections evenly over a time.
///
/// The first ends at once, so that one alone keeps nobody waiting; the last one well before the time is over.
public struct DrainSchedule: Sendable, Equatable {
    private let startedAt: NIODeadline
    private let span: TimeAmount
    private let total: Int

    /// How many have been handed out.
    public private(set) var begun = 0

    /// A schedule for `total` connections.
    ///
    /// - Parameter span: The time from the first to one step after the last.
    public init(total: Int, startedAt: NIODeadline, span: TimeAmount) {
        self.total = max(total, 0)
        self.startedAt = startedAt
        self.span = max(span, .zero)
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
