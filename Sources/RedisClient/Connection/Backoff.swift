import NIOCore

/// How long to wait before each further attempt: at random, within a bound that doubles ("full jitter").
struct Backoff: Sendable {
    private let range: ClosedRange<TimeAmount>
    private var failures = 0

    init(_ range: ClosedRange<TimeAmount>) { self.range = range }

    /// The pause after one more failure; never below the lower bound, so that nothing spins.
    mutating func next(using generator: inout some RandomNumberGenerator) -> TimeAmount {
        let lower = max(1, range.lowerBound.nanoseconds)
        let upper = max(lower, range.upperBound.nanoseconds)
        var bound = lower
        for _ in 0...failures {
            let (doubled, overflows) = bound.multipliedReportingOverflow(by: 2)
            if overflows || doubled >= upper {
                bound = upper
                break
            }
            bound = doubled
        }
        failures = min(failures + 1, 63)
        return .nanoseconds(Int64.random(in: lower...bound, using: &generator))
    }

    /// The next failure is the first again.
    mutating func reset() { failures = 0 }
}
