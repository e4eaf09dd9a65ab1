/// How much one message may take before the connection is closed with 1009.
public struct MessageLimits: Sendable, Equatable {
    /// The payload bytes of one whole message, inflated; 2 GiB − 1 at most, whatever is asked for.
    ///
    /// What a compressed message takes on the wire may be a 64th and 64 bytes more.
    public var maxMessageBytes: Int
    /// The frames of one message, empty ones too; an unfragmented message has one.
    public var maxFragments: Int
    /// How many bytes a compressed message may inflate to per byte on the wire, beyond its first 256 KiB; nil is off.
    ///
    /// DEFLATE itself can't pass 1032.
    public var maxCompressionRatio: Int?

    /// - Parameters:
    ///   - maxMessageBytes: payload bytes of one whole message; less than 0 counts as 0.
    ///   - maxFragments: frames of one message; less than 1 counts as 1.
    ///   - maxCompressionRatio: inflated bytes per byte on the wire, or nil for any; less than 1 counts as 1.
    public init(maxMessageBytes: Int, maxFragments: Int, maxCompressionRatio: Int? = 100) {
        self.maxMessageBytes = maxMessageBytes
        self.maxFragments = maxFragments
        self.maxCompressionRatio = maxCompressionRatio
    }

    /// The same with each value moved into its range.
    var clamped: MessageLimits {
        MessageLimits(
            // A ByteBuffer counts in 32 bits.
            maxMessageBytes: min(max(self.maxMessageBytes, 0), Int(Int32.max)),
            maxFragments: max(self.maxFragments, 1),
            maxCompressionRatio: self.maxCompressionRatio.map { min(max($0, 1), Int(Int32.max)) }
        )
    }
}
