internal import NIOCore

/// A rate limit that needs one timestamp per key: the generic cell rate algorithm.
///
/// It is the leaky bucket as a meter in its virtual scheduling form (ITU-T I.371, Annex A). The timestamp is the
/// theoretical arrival time (TAT): the moment at which the bucket is full again. What is taken moves it forward by
/// the time that the rate needs to bring it back; it may lie as far ahead of now as a whole burst takes to come back.
///
/// All times are nanoseconds of one monotonic clock, as `NIODeadline.uptimeNanoseconds`. If the clock steps back,
/// nothing more is allowed than before: the bucket is as full as it was at the later time. Sums saturate, so no time
/// and no cost can overflow.
///
/// A cost is converted to whole nanoseconds, rounded down, but at least one. So the rate is exact where the period is a
/// multiple of the count (all of `20/1s`, `600/1m`, `1000/1s`), and elsewhere too high by less than a nanosecond per
/// take. A burst is always exact for a single take.
public struct GCRA: Sendable, Hashable {
    /// The decision about a take.
    public enum Verdict: Sendable, Hashable {
        /// The tokens were there and are taken.
        case allowed
        /// Too few tokens; nothing is taken. They are there in so many nanoseconds, at least 1; `Int64.max` means
        /// never, when more was asked than the burst.
        case limited(retryAfter: Int64)
    }

    /// The timestamp of an unknown key: its bucket is full at any time.
    public static let full = Int64.min

    /// Nanoseconds per `denominator` tokens, in lowest terms.
    private let numerator: Int64
    private let denominator: Int64
    private let burst: Int64
    /// Nanoseconds that a whole burst takes to come back.
    private let tolerance: Int64
    /// Nanoseconds that one token takes to come back.
    private let interval: Int64

    /// Makes the limit for a rate.
    public init(_ rate: Rate) {
        let divisor = Self.greatestCommonDivisor(rate.period.nanoseconds, rate.count)
        numerator = rate.period.nanoseconds / divisor
        denominator = rate.count / divisor
        burst = rate.burst
        tolerance = Self.nanoseconds(rate.burst, numerator, denominator)
        interval = Self.nanoseconds(1, numerator, denominator)
    }

    /// Takes `cost` tokens if they are there.
    ///
    /// - Parameters:
    ///   - cost: Tokens; with 0 and below nothing is taken and the take is allowed.
    ///   - tat: The key's timestamp, ``full`` at first; unchanged when refused.
    ///   - now: The time in nanoseconds.
    public func take(_ cost: Int64 = 1, tat: inout Int64, now: Int64) -> Verdict {
        guard cost > 0 else { return .allowed }
        guard cost <= burst else { return .limited(retryAfter: .max) }
        let backlog = Self.sum(Self.backlog(tat, now), nanoseconds(cost))
        guard backlog <= tolerance else { return .limited(retryAfter: backlog - tolerance) }
        tat = Self.sum(now, backlog)
        return .allowed
    }

    /// Takes `cost` tokens even if they are not there, and returns how long to pause before the next take.
    ///
    /// - Parameters:
    ///   - cost: Tokens; 0 and below take none and only return the pause.
    ///   - tat: The key's timestamp, ``full`` at first.
    ///   - now: The time in nanoseconds.
    /// - Returns: Nanoseconds until one token is there again; 0 when one is there already.
    public func takeInDebt(_ cost: Int64 = 1, tat: inout Int64, now: Int64) -> Int64 {
        var backlog = Self.backlog(tat, now)
        if cost > 0 {
            backlog = Self.sum(backlog, nanoseconds(cost))
            // When the backlog has saturated, the sum would lie before the timestamp.
            tat = max(tat, Self.sum(now, backlog))
        }
        return max(Self.sum(backlog, interval) - tolerance, 0)
    }

    /// Tokens that a take would get now, from 0 to the burst.
    public func remaining(_ tat: Int64, now: Int64) -> Int64 {
        let room = tolerance - Self.backlog(tat, now)
        guard room > 0 else { return 0 }
        // The largest cost whose rounded time fits: the inverse of `nanoseconds`.
        let tokens = ((Int128(room) + 1) * Int128(denominator) - 1) / Int128(numerator)
        return Int64(min(tokens, Int128(burst)))
    }

    /// Nanoseconds until the bucket is full, if nothing more is taken; 0 when it is.
    public func resetAfter(_ tat: Int64, now: Int64) -> Int64 {
        Self.backlog(tat, now)
    }

    // MARK: - Arithmetic

    /// Nanoseconds that `cost` tokens, at least 1, take to come back.
    @inline(__always)
    private func nanoseconds(_ cost: Int64) -> Int64 {
        cost == 1 ? interval : Self.nanoseconds(cost, numerator, denominator)
    }

    private static func nanoseconds(_ cost: Int64, _ numerator: Int64, _ denominator: Int64) -> Int64 {
        let (product, overflow) = cost.multipliedReportingOverflow(by: numerator)
        if !overflow { return max(product / denominator, 1) }
        let wide = Int128(cost) * Int128(numerator) / Int128(denominator)
        return Int64(min(wide, Int128(Int64.max)))
    }

    /// How far the timestamp lies ahead of now; 0 for one that has passed.
    @inline(__always)
    private static func backlog(_ tat: Int64, _ now: Int64) -> Int64 {
        guard tat > now else { return 0 }
        let (ahead, overflow) = tat.subtractingReportingOverflow(now)
        return overflow ? .max : ahead
    }

    /// `base` plus an `amount` that is not negative.
    @inline(__always)
    private static func sum(_ base: Int64, _ amount: Int64) -> Int64 {
        let (sum, overflow) = base.addingReportingOverflow(amount)
        return overflow ? .max : sum
    }

    private static func greatestCommonDivisor(_ left: Int64, _ right: Int64) -> Int64 {
        var (large, small) = (max(left, 1), max(right, 1))
        while small != 0 { (large, small) = (small, large % small) }
        return large
    }
}
