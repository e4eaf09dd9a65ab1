/// A set of event loops, by number; loops beyond the 63rd share one bit.
public struct LoopSet: Sendable, Equatable {
    /// One bit for each loop.
    public private(set) var bits: UInt64

    /// A set with these bits; empty by default.
    public init(bits: UInt64 = 0) {
        self.bits = bits
    }

    /// Whether this loop is in it.
    public func contains(_ loop: Int) -> Bool { bits & Self.bit(loop) != 0 }

    /// Whether it has none.
    public var isEmpty: Bool { bits == 0 }

    /// Adds a loop.
    public mutating func insert(_ loop: Int) { bits |= Self.bit(loop) }

    /// Removes a loop, unless it shares its bit with others that may still need it.
    mutating func removeUnlessShared(_ loop: Int) {
        if loop < 63 { bits &= ~Self.bit(loop) }
    }

    private static func bit(_ loop: Int) -> UInt64 { 1 << UInt64(min(max(loop, 0), 63)) }
}
