/// Identifies a published message: random bits, by which an offset that has come to mean another message is recognised.
public struct MessageID: Sendable, Hashable, CustomStringConvertible {
    /// Random bits.
    public let bits: UInt64

    /// Makes one.
    public init(_ bits: UInt64) {
        self.bits = bits
    }

    /// Reads what ``description`` writes; nil for anything else.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 16, text.utf8.first != UInt8(ascii: "+"), let bits = UInt64(text, radix: 16) else {
            return nil
        }
        self.bits = bits
    }

    /// The id of a message of a broker that loses no messages unnoticed, so that epoch and offset say it all.
    init(epoch: ChannelEpoch, offset: UInt64) {
        // The mixing step of SplitMix64.
        var bits = epoch.bits &+ offset &* 0x9e37_79b9_7f4a_7c15
        bits = (bits ^ (bits &>> 30)) &* 0xbf58_476d_1ce4_e5b9
        bits = (bits ^ (bits &>> 27)) &* 0x94d0_49bb_1331_11eb
        self.bits = bits ^ (bits &>> 31)
    }

    /// Its first 32 bits, which are the first 8 digits of ``description``.
    public var check: UInt32 { UInt32(truncatingIfNeeded: bits &>> 32) }

    /// 16 hexadecimal digits.
    public var description: String {
        let digits = String(bits, radix: 16)
        return String(repeating: "0", count: max(0, 16 - digits.utf8.count)) + digits
    }
}
