/// Identifies one run of a channel's offsets: it changes when they start again because earlier messages were lost.
public struct ChannelEpoch: Sendable, Hashable, CustomStringConvertible {
    /// Random bits.
    public let bits: UInt64

    /// Makes one.
    public init(_ bits: UInt64) {
        self.bits = bits
    }

    /// As shown to users.
    public var description: String { String(bits, radix: 36) }
}
