/// The format in which the outbox stores what it knows of a connection.
///
/// ```
/// record = version field*
/// field  = tag length value
/// ```
/// The version and a tag have one byte each, a length has four, most significant first. Numbers have eight bytes, texts
/// are UTF-8. Tags ascend, so that a value has exactly one record; only tags of a list repeat. A new field that may be
/// missing needs no new version, any other change does. Version 1 had no number: its records are text
/// (``isVersion1(_:)``).
enum JournalRecord {
    /// The version that is written.
    static let version: UInt8 = 2

    /// True for a record of version 1, which stored parts of the requests themselves.
    static func isVersion1(_ record: [UInt8]) -> Bool { record.first.map { $0 >= 0x20 } ?? false }
}

/// Why a record of the outbox cannot be read.
public enum JournalFault: Error, Sendable, Equatable {
    /// It was written by a later version.
    case unknownVersion(UInt8)
    /// Something in it is missing, superfluous or impossible.
    case malformed

    /// What is wrong, worded as the end of a sentence.
    public var words: String {
        switch self {
        case .unknownVersion(let version): "its version \(version) is unknown"
        case .malformed: "it is damaged"
        }
    }
}

/// Writes a record.
struct JournalWriter {
    private(set) var record: [UInt8] = [JournalRecord.version]

    mutating func write(_ tag: UInt8, _ value: some Collection<UInt8>) {
        record.append(tag)
        append(UInt64(value.count), bytes: 4)
        record += value
    }

    mutating func write(_ tag: UInt8, text: String) { write(tag, text.utf8) }

    mutating func write(_ tag: UInt8, number: UInt64) {
        record.append(tag)
        append(8, bytes: 4)
        append(number, bytes: 8)
    }

    /// An entry of a list, with a name and a value.
    mutating func write(_ tag: UInt8, name: some Collection<UInt8>, value: some Collection<UInt8>) {
        record.append(tag)
        append(UInt64(4 + name.count + value.count), bytes: 4)
        append(UInt64(name.count), bytes: 4)
        record += name
        record += value
    }

    private mutating func append(_ number: UInt64, bytes: Int) {
        for byte in (0..<bytes).reversed() { record.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * byte))) }
    }
}

/// Reads a record of this version field by field, in the order of the tags.
struct JournalReader {
    private var rest: ArraySlice<UInt8>

    init(_ record: [UInt8]) throws(JournalFault) {
        rest = record[...]
        guard let version = rest.popFirst() else { throw .malformed }
        guard version == JournalRecord.version else { throw .unknownVersion(version) }
    }

    /// The value of this field if it comes next.
    mutating func take(_ tag: UInt8) throws(JournalFault) -> ArraySlice<UInt8>? {
        guard rest.first == tag else { return nil }
        rest.removeFirst()
        return try Self.cut(&rest)
    }

    /// The text of this field if it comes next.
    mutating func takeText(_ tag: UInt8) throws(JournalFault) -> String? {
        guard let value = try take(tag) else { return nil }
        guard let text = String(validating: value, as: UTF8.self) else { throw .malformed }
        return text
    }

    /// The text of this field, which must come next.
    mutating func text(_ tag: UInt8) throws(JournalFault) -> String {
        guard let text = try takeText(tag) else { throw .malformed }
        return text
    }

    /// The number of this field, which must come next.
    mutating func number(_ tag: UInt8) throws(JournalFault) -> UInt64 {
        guard let value = try take(tag), value.count == 8 else { throw .malformed }
        return value.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// An entry of a list if one comes next.
    mutating func takePair(
        _ tag: UInt8
    ) throws(JournalFault) -> (name: ArraySlice<UInt8>, value: ArraySlice<UInt8>)? {
        guard var value = try take(tag) else { return nil }
        return (try Self.cut(&value), value)
    }

    /// Checks that nothing follows.
    func expectEnd() throws(JournalFault) {
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
