import NIOCore

@testable import SidecarCore

/// The token bucket as a textbook has it, with exact fractions: what the algorithm under test must agree with.
struct TokenBucketModel {
    private let count: Int128
    private let period: Int128
    private let capacity: Int128
    /// Tokens times the period; below zero in debt.
    private(set) var level: Int128
    private var last: Int64?

    init(_ rate: Rate) {
        count = Int128(rate.count)
        period = Int128(rate.period.nanoseconds)
        capacity = Int128(rate.burst) * period
        level = capacity
    }

    mutating func advance(to now: Int64) {
        if let last { level = min(capacity, level + (Int128(now) - Int128(last)) * count) }
        last = now
    }

    func has(_ cost: Int64) -> Bool { level >= Int128(cost) * period }

    mutating func remove(_ cost: Int64) { level -= Int128(cost) * period }

    /// Nanoseconds until `cost` tokens are there.
    func wait(for cost: Int64) -> Int64 {
        let missing = Int128(cost) * period - level
        return missing <= 0 ? 0 : Int64((missing + count - 1) / count)
    }

    /// Whole tokens that are there.
    var tokens: Int64 { level <= 0 ? 0 : Int64(level / period) }

    /// Nanoseconds until the bucket is full.
    var untilFull: Int64 { Int64((capacity - level + count - 1) / count) }

    /// Nanoseconds' worth of tokens, the most by which rounding each of so many takes may have erred.
    func isWithin(_ takes: Int, of cost: Int64) -> Bool {
        level + (Int128(takes) + 1) * count >= Int128(cost) * period
    }
}

/// SplitMix64: random enough for tests, and the same in each run.
struct RepeatableRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
