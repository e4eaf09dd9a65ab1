public import NIOCore

/// A value as the server sends it (RESP3; a RESP2 null is a null).
///
/// Strings are slices of what was read from the network; who keeps a small one for long should copy it.
public enum RESPValue: Sendable, Equatable {
    /// A null of any kind: `_`, `$-1` or `*-1`.
    case null
    /// A short text such as `OK`.
    case simple(ByteBuffer)
    /// An error, of either length.
    case error(RedisErrorReply)
    /// A signed number of 64 bits.
    case integer(Int64)
    /// A string of any bytes.
    case bulk(ByteBuffer)
    /// A string with a format of three letters, such as `txt`.
    case verbatim(format: String, ByteBuffer)
    /// A floating-point number.
    case double(Double)
    /// A truth value.
    case boolean(Bool)
    /// A number with any count of digits, as text.
    case bigNumber(ByteBuffer)
    /// Elements in order.
    case array([RESPValue])
    /// Pairs in the order in which they came; a key may come twice.
    case map([Pair])
    /// Elements without an order.
    case set([RESPValue])
    /// A message that no command asked for.
    case push([RESPValue])

    /// An entry of a map.
    public struct Pair: Sendable, Equatable {
        /// What it is called.
        public let key: RESPValue
        /// What it holds.
        public let value: RESPValue

        /// Makes an entry.
        public init(key: RESPValue, value: RESPValue) {
            self.key = key
            self.value = value
        }
    }

    /// The bytes of a string; nil for other types.
    public var bytes: ByteBuffer? {
        switch self {
        case .simple(let bytes), .bulk(let bytes), .verbatim(_, let bytes), .bigNumber(let bytes): bytes
        case .null, .error, .integer, .double, .boolean, .array, .map, .set, .push: nil
        }
    }

    /// The text of a string or a number; nil for other types. Bytes that are no UTF-8 become U+FFFD.
    public var text: String? {
        switch self {
        case .integer(let number): String(number)
        case .double(let number): String(number)
        default: bytes.map { String(buffer: $0) }
        }
    }

    /// The number, also when it came as the text of one, as numbers in lists do; nil for other values.
    public var integer: Int64? {
        switch self {
        case .integer(let number): return number
        case .boolean(let flag): return flag ? 1 : 0
        case .simple(let bytes), .bulk(let bytes), .bigNumber(let bytes), .verbatim(_, let bytes):
            return RESPNumber.integer(bytes.readableBytesUInt8Span, 0..<bytes.readableBytes)
        case .null, .error, .double, .array, .map, .set, .push: return nil
        }
    }

    /// The elements of an array, a set or a push; keys and values of a map in turn; nil for other types.
    public var items: [RESPValue]? {
        switch self {
        case .array(let items), .set(let items), .push(let items): items
        case .map(let pairs): pairs.flatMap { [$0.key, $0.value] }
        case .null, .simple, .error, .integer, .bulk, .verbatim, .double, .boolean, .bigNumber: nil
        }
    }

    /// True for a null.
    public var isNull: Bool { self == .null }

    /// The value of a map's first entry with this key, also where the map came as a flat list; nil without one.
    public subscript(key: String) -> RESPValue? {
        switch self {
        case .map(let pairs):
            return pairs.first { $0.key.isText(key) }?.value
        case .array(let items):
            var index = 0
            while index + 1 < items.count {
                if items[index].isText(key) { return items[index + 1] }
                index += 2
            }
            return nil
        default: return nil
        }
    }

    /// Says whether it is a string of exactly this text.
    public func isText(_ text: String) -> Bool {
        // Mostly the lengths differ.
        guard let bytes, bytes.readableBytes == text.utf8.count else { return false }
        return bytes.readableBytesView.elementsEqual(text.utf8)
    }

    /// Says whether it is a string of exactly this text, which stands in the source.
    func matches(_ text: StaticString) -> Bool {
        guard let bytes, bytes.readableBytes == text.utf8CodeUnitCount else { return false }
        let span = bytes.readableBytesUInt8Span
        return text.withUTF8Buffer { wanted in
            for index in 0..<min(wanted.count, span.count) where span[index] != wanted[index] { return false }
            return true
        }
    }
}
