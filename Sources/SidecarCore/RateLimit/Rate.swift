public import NIOCore

/// A number of events or bytes per period, and how many of them may come at once.
public struct Rate: Sendable, Hashable, CustomStringConvertible {
    /// What a rate counts.
    public enum Unit: Sendable, Hashable {
        /// Handshakes or messages.
        case events
        /// Bytes of payload.
        case bytes
    }

    /// Events or bytes per period, at least 1.
    public let count: Int64
    /// The period: whole milliseconds from 1 ms to 24 h.
    public let period: TimeAmount
    /// Events or bytes that may come at once after a rest, at least 1.
    public let burst: Int64
    /// What is counted.
    public let unit: Unit

    /// Makes a rate; a number outside its range becomes the nearest that lies within.
    ///
    /// - Parameter burst: What may come at once; nil: as much as in one period.
    public init(_ count: Int64, per period: TimeAmount, burst: Int64? = nil, unit: Unit = .events) {
        let most = Int64(Self.most(unit))
        self.count = min(max(count, 1), most)
        let clamped = min(max(period, Self.periods.lowerBound), Self.periods.upperBound)
        self.period = .milliseconds(clamped.nanoseconds / 1_000_000)
        self.burst = min(max(burst ?? self.count, 1), Self.largestBurst(self.count, per: self.period, unit: unit))
        self.unit = unit
    }

    /// As written in a setting: `20/1s`, `600/1m,burst=100`, `1MiB/1s`.
    public var description: String {
        let rate = "\(show(count))/\(showDuration(period))"
        return burst == count ? rate : "\(rate),burst=\(show(burst))"
    }

    private func show(_ number: Int64) -> String {
        unit == .bytes ? showSize(Int(number)) : "\(number)"
    }

    // MARK: - Ranges

    /// The periods that may be set.
    static let periods = TimeAmount.milliseconds(1)...TimeAmount.hours(24)

    /// The longest time in which a spent burst may come back; it also keeps every sum of nanoseconds far from overflow.
    static let longestRefill = TimeAmount.hours(365 * 24)

    /// The largest count and burst that may be set.
    static func most(_ unit: Unit) -> Int {
        unit == .bytes ? 1 << 40 : 1_000_000_000
    }

    /// The largest burst that is back within ``longestRefill``, and within what may be set.
    static func largestBurst(_ count: Int64, per period: TimeAmount, unit: Unit) -> Int64 {
        let refilled = Int128(count) * Int128(longestRefill.nanoseconds) / Int128(max(period.nanoseconds, 1))
        return Int64(min(refilled, Int128(most(unit))))
    }
}
