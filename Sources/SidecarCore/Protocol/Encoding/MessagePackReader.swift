/// Reads MessagePack (<https://github.com/msgpack/msgpack/blob/master/spec.md>) without creating values.
///
/// It never recurses, and allocates nothing that grows with a length that the bytes only claim.
struct MessagePackReader {
    enum Fault: Error {
        case malformed
        case tooDeep
    }

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    /// - Parameter bytes: They must outlive the reader.
    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { position == bytes.count }

    /// Takes the head of a map; returns how many members it has.
    mutating func mapCount() throws(Fault) -> Int {
        guard position < bytes.count else { throw .malformed }
        let byte = bytes[position]
        position += 1
        switch byte {
        case 0x80...0x8F: return Int(byte & 0x0F)
        case 0xDE: return try length(2)
        case 0xDF: return try length(4)
        default: throw .malformed
        }
    }

    /// Skips a value, and returns where it is.
    ///
    /// - Parameter maxDepth: How deep arrays and maps may lie in one another.
    mutating func valueRange(maxDepth: Int) throws(Fault) -> Range<Int> {
        let start = position
        /// How many values are left in each of the arrays and maps around what comes next.
        var left: [Int] = []
        repeat {
            if let count = try skipHead() {
                guard left.count < maxDepth else { throw .tooDeep }
                if count > 0 {
                    left.append(count)
                    continue
                }
            }
            while let last = left.last {
                if last > 1 {
                    left[left.count - 1] = last - 1
                    break
                }
                left.removeLast()
            }
        } while !left.isEmpty
        return start..<position
    }

    /// Skips a value, or the head of an array or map; returns how many values that has.
    private mutating func skipHead() throws(Fault) -> Int? {
        guard position < bytes.count else { throw .malformed }
        let byte = bytes[position]
        position += 1
        switch byte {
        case 0x00...0x7F, 0xE0...0xFF: break  // small integers
        case 0x80...0x8F: return 2 * Int(byte & 0x0F)
        case 0x90...0x9F: return Int(byte & 0x0F)
        case 0xA0...0xBF: try skip(Int(byte & 0x1F))
        case 0xC0, 0xC2, 0xC3: break  // nil, false, true
        case 0xC4, 0xD9: try skip(try length(1))
        case 0xC5, 0xDA: try skip(try length(2))
        case 0xC6, 0xDB: try skip(try length(4))
        case 0xC7: try skip(try length(1) + 1)
        case 0xC8: try skip(try length(2) + 1)
        case 0xC9: try skip(try length(4) + 1)
        case 0xCA, 0xCE, 0xD2: try skip(4)
        case 0xCB, 0xCF, 0xD3: try skip(8)
        case 0xCC, 0xD0: try skip(1)
        case 0xCD, 0xD1: try skip(2)
        case 0xD4...0xD8: try skip(1 + 1 << Int(byte - 0xD4))  // an extension of 1 to 16 bytes with its type
        case 0xDC: return try length(2)
        case 0xDD: return try length(4)
        case 0xDE: return 2 * (try length(2))
        case 0xDF: return 2 * (try length(4))
        default: throw .malformed  // 0xC1 is never used
        }
        return nil
    }

    private mutating func skip(_ count: Int) throws(Fault) {
        guard count <= bytes.count - position else { throw .malformed }
        position += count
    }

    /// Takes a length of so many bytes, most significant first.
    private mutating func length(_ byteCount: Int) throws(Fault) -> Int {
        guard byteCount <= bytes.count - position else { throw .malformed }
        defer { position += byteCount }
        return bytes[position..<position + byteCount].reduce(0) { $0 << 8 | Int($1) }
    }

    // MARK: Items

    /// A value, or the beginning of an array or a map.
    enum Item {
        case null
        case bool(Bool)
        case unsigned(UInt64)
        case negative(Int64)
        case double(Double)
        /// It need not be UTF-8.
        case text(UnsafeRawBufferPointer)
        case bytes(UnsafeRawBufferPointer)
        case extended
        /// So many values follow.
        case array(Int)
        /// So many names with their values follow.
        case map(Int)
    }

    /// Takes an item.
    mutating func item() throws(Fault) -> Item {
        let start = position
        let count = try skipHead()
        let value = UnsafeRawBufferPointer(rebasing: bytes[start..<position])
        if let count {
            let isMap = (0x80...0x8F).contains(value[0]) || value[0] == 0xDE || value[0] == 0xDF
            return isMap ? .map(count / 2) : .array(count)
        }
        switch value[0] {
        case 0xC0: return .null
        case 0xC2, 0xC3: return .bool(value[0] == 0xC3)
        case 0xCA: return .double(Double(Float(bitPattern: UInt32(truncatingIfNeeded: Self.bits(value)))))
        case 0xCB: return .double(Double(bitPattern: Self.bits(value)))
        case 0xE0...0xFF: return .negative(Int64(Int8(bitPattern: value[0])))
        case 0xD0...0xD3:
            // Signed, in 1, 2, 4 or 8 bytes.
            let unused = 64 - 8 * (value.count - 1)
            let number = Int64(bitPattern: Self.bits(value) << UInt64(unused)) >> Int64(unused)
            return number < 0 ? .negative(number) : .unsigned(UInt64(number))
        case 0xC7...0xC9, 0xD4...0xD8: return .extended
        default:
            if let text = Self.text(in: value) { return .text(text) }
            if let range = Self.bytes(in: value) { return .bytes(UnsafeRawBufferPointer(rebasing: value[range])) }
            guard let number = Self.unsigned(in: value) else { throw .malformed }
            return .unsigned(number)
        }
    }

    /// What follows the first byte, most significant first.
    private static func bits(_ value: UnsafeRawBufferPointer) -> UInt64 {
        value.dropFirst().reduce(0) { $0 << 8 | UInt64($1) }
    }

    // MARK: Whole values

    /// The bytes of a string, which need not be UTF-8; nil for any other value.
    static func text(in value: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        guard let first = value.first else { return nil }
        let head: Int
        switch first {
        case 0xA0...0xBF: head = 1
        case 0xD9: head = 2
        case 0xDA: head = 3
        case 0xDB: head = 5
        default: return nil
        }
        return head <= value.count ? UnsafeRawBufferPointer(rebasing: value[head...]) : nil
    }

    /// Where the bytes of a byte string are; nil for any other value.
    static func bytes(in value: UnsafeRawBufferPointer) -> Range<Int>? {
        let head: Int
        switch value.first {
        case 0xC4: head = 2
        case 0xC5: head = 3
        case 0xC6: head = 5
        default: return nil
        }
        return head <= value.count ? head..<value.count : nil
    }

    /// A whole number that is not negative; nil for any other value.
    static func unsigned(in value: UnsafeRawBufferPointer) -> UInt64? {
        guard let first = value.first else { return nil }
        func number(_ byteCount: Int) -> UInt64? {
            guard value.count == 1 + byteCount else { return nil }
            return value.dropFirst().reduce(0) { $0 << 8 | UInt64($1) }
        }
        switch first {
        case 0x00...0x7F: return UInt64(first)
        case 0xCC: return number(1)
        case 0xCD: return number(2)
        case 0xCE: return number(4)
        case 0xCF: return number(8)
        // Signed, as some libraries write every number.
        case 0xD0: return number(1).flatMap { $0 < 1 << 7 ? $0 : nil }
        case 0xD1: return number(2).flatMap { $0 < 1 << 15 ? $0 : nil }
        case 0xD2: return number(4).flatMap { $0 < 1 << 31 ? $0 : nil }
        case 0xD3: return number(8).flatMap { $0 < 1 << 63 ? $0 : nil }
        case 0xCB:
            // JavaScript's numbers, as some libraries write the larger ones.
            return number(8).flatMap { UInt64(exactly: Double(bitPattern: $0)) }
        default: return nil
        }
    }
}
