/// How much one reply of the server may be; what passes a limit is refused as soon as it is announced.
public struct RESPLimits: Sendable, Hashable {
    /// How many aggregates may be open inside each other; a flat array counts as one.
    public var maxDepth: Int
    /// How many elements an aggregate, and all those of one reply together, may have; an entry of a map counts as two.
    public var maxElements: Int
    /// How many bytes one reply may have as it is sent, types, lengths and line ends included.
    public var maxBytes: Int

    /// Sets the limits; those that are left out are meant for servers that are trusted but may be out of order.
    public init(maxDepth: Int = 16, maxElements: Int = 1 << 20, maxBytes: Int = 128 << 20) {
        self.maxDepth = maxDepth
        self.maxElements = maxElements
        self.maxBytes = maxBytes
    }

    /// How long a line may be that is a text: a simple string, an error or a big number.
    static var maxTextLine: Int { 64 << 10 }
    /// How long a line may be that is a number or a length.
    static var maxNumberLine: Int { 128 }
}
