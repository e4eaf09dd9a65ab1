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
