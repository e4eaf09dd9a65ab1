public import NIOCore

/// How fast a listener takes connections, so that thousands at once don't hold up those that are open.
///
/// A token bucket: a quiet listener accepts a burst at once, a busy one so many a millisecond.
public struct AcceptPace: Sendable {
    private let perMillisecond: Double
    private let burst: Double
    private let batch: Double
    private var tokens: Double
    private var filledAt: NIODeadline?

    /// A full bucket.
    ///
    /// - Parameter batch: So many are accepted after a pause, since each pause has a cost of its own; at most `burst`.
    public init(perMillisecond: Double, burst: Int, batch: Int = 1) {
        self.perMillisecond = max(perMillisecond, 0.001)
        self.burst = Double(max(burst, 1))
        self.batch = min(Double(max(batch, 1)), self.burst)
        self.tokens = self.burst
    }

    /// The time to wait before the next connection may be accepted; nil when it may be now.
    public mutating func wait(at now: NIODeadline) -> TimeAmount? {
        if let filledAt = self.filledAt {
            let elapsed = Double(max((now - filledAt).nanoseconds, 0)) / 1_000_000
            self.tokens = min(self.tokens + elapsed * self.perMillisecond, self.burst)
        }
        self.filledAt = now
        guard self.tokens < 1 else { return nil }
        return .nanoseconds(Int64((self.batch - self.tokens) / self.perMillisecond * 1_000_000))
    }

    /// A connection was accepted; several may be by one read, and the debt is waited for.
    public mutating func accepted() {
        self.tokens -= 1
    }
}
