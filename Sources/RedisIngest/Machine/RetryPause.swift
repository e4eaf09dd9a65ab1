import NIOCore

/// How long to wait before each further attempt: at random within a bound that doubles (full jitter), but never so
/// short that anything spins.
struct RetryPause: Sendable, Equatable {
    private let range: ClosedRange<TimeAmount>
    private var bound: Int64

    init(_ range: ClosedRange<TimeAmount>) {
        self.range = range
        bound = max(1, range.lowerBound.nanoseconds)
    }

    /// The pause after one more failure.
    mutating func next(using generator: inout some RandomNumberGenerator) -> TimeAmount {
        let lower = max(1, range.lowerBound.nanoseconds)
        let upper = max(lower, range.upperBound.nanoseconds)
        let (doubled, overflows) = bound.multipliedReportingOverflow(by: 2)
        bound = overflows ? upper : min(upper, max(lower, doubled))
        return .nanoseconds(Int64.random(in: lower...bound, using: &generator))
    }

    /// The next failure is the first again.
    mutating func reset() { bound = max(1, range.lowerBound.nanoseconds) }
}
