/// Identifies one run of a channel's offsets: it changes when they start again because earlier messages were lost.
public struct ChannelEpoch: Sendable, Hashable, CustomStringConvertible {
    /// Random bits.
    public let bits: UInt64

    /// Makes one.
    public init(_ bits: UInt64) {
        self.bits = bits
    }

    /// Reads what ``description`` writes; nil for anything else.
    public init?(_ text: some StringProtocol) {
        guard (1...13).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "+"),
            let bits = UInt64(text, radix: 36)
        else { return nil }
        self.bits = bits
    }

    /// As shown to users.
    public var description: String { String(bits, radix: 36) }
}
