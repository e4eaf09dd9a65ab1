/// Writes a record.
package struct JournalWriter {
    /// What was written.
    package private(set) var record: [UInt8]

    /// - Parameter capacity: What the record will take, about, in bytes.
    package init(capacity: Int = 64) {
        record = []
        record.reserveCapacity(capacity)
        record.append(JournalRecord.version)
    }

    package mutating func write(_ tag: UInt8, _ value: some Collection<UInt8>) {
        record.append(tag)
        append(UInt64(value.count), bytes: 4)
        record += value
    }

    package mutating func write(_ tag: UInt8, text: String) { write(tag, text.utf8) }

    package mutating func write(_ tag: UInt8, number: UInt64) {
        record.append(tag)
        append(8, bytes: 4)
        append(number, bytes: 8)
    }

    /// An entry of a list, with a name and a value.
    package mutating func write(_ tag: UInt8, name: some Collection<UInt8>, value: some Collection<UInt8>) {
        record.append(tag)
        append(UInt64(4 + name.count + value.count), bytes: 4)
        append(UInt64(name.count), bytes: 4)
        record += name
        record += value
    }

    private mutating func append(_ number: UInt64, bytes: Int) {
        record += Self.bytes(of: number).suffix(bytes)
    }

    /// Eight bytes, the most significant first.
    package static func bytes(of number: UInt64) -> [UInt8] {
        (0..<8).reversed().map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) }
    }
}
