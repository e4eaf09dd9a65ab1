/// Reads a record of this version field by field, in the order of the tags.
package struct JournalReader {
    private var rest: ArraySlice<UInt8>

    package init(_ record: [UInt8]) throws(JournalFault) {
        rest = record[...]
        guard let version = rest.popFirst() else { throw .malformed }
        guard version == JournalRecord.version else { throw .unknownVersion(version) }
    }

    /// The value of this field if it comes next.
    package mutating func take(_ tag: UInt8) throws(JournalFault) -> ArraySlice<UInt8>? {
        guard rest.first == tag else { return nil }
        rest.removeFirst()
        return try Self.cut(&rest)
    }

    /// The text of this field if it comes next.
    package mutating func takeText(_ tag: UInt8) throws(JournalFault) -> String? {
        guard let value = try take(tag) else { return nil }
        guard let text = String(validating: value, as: UTF8.self) else { throw .malformed }
        return text
    }

    /// The text of this field, which must come next.
    package mutating func text(_ tag: UInt8) throws(JournalFault) -> String {
        guard let text = try takeText(tag) else { throw .malformed }
        return text
    }

    /// The number of this field, which must come next.
    package mutating func number(_ tag: UInt8) throws(JournalFault) -> UInt64 {
        guard let value = try take(tag), value.count == 8 else { throw .malformed }
        return Self.number(value)
    }

    /// The number that some bytes are, the most significant first.
    package static func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }

    /// An entry of a list if one comes next.
    package mutating func takePair(
        _ tag: UInt8
    ) throws(JournalFault) -> (name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)? {
        guard var value = try take(tag) else { return nil }
        return (try Self.cut(&value), value)
    }

    /// Checks that nothing follows.
    package func expectEnd() throws(JournalFault) {
        guard rest.isEmpty else { throw .malformed }
    }

    /// Removes a length and that many bytes from the front.
    private static func cut(_ bytes: inout ArraySlice<UInt8>) throws(JournalFault) -> ArraySlice<UInt8> {
        guard bytes.count >= 4 else { throw .malformed }
        let length = bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        bytes = bytes.dropFirst(4)
        guard length <= bytes.count else { throw .malformed }
        let value = bytes.prefix(length)
        bytes = bytes.dropFirst(length)
        return value
    }
}
