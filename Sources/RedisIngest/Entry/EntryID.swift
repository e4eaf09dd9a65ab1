/// The id of a stream's entry: milliseconds since 1970 by the server's clock, and a number within that millisecond.
///
/// A producer may choose ids of its own, so the time need not be one.
struct EntryID: Sendable, Hashable, Comparable, CustomStringConvertible {
    let milliseconds: UInt64
    let sequence: UInt64

    init(_ milliseconds: UInt64, _ sequence: UInt64) {
        self.milliseconds = milliseconds
        self.sequence = sequence
    }

    /// Reads `1700000000000-0`; nil for anything else.
    init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let milliseconds = UInt64(parts[0]), let sequence = UInt64(parts[1]) else { return nil }
        self.init(milliseconds, sequence)
    }

    /// Before all entries.
    static let zero = EntryID(0, 0)

    /// The id just before this one; ``zero`` has none and stays itself.
    var predecessor: EntryID {
        if sequence > 0 { return EntryID(milliseconds, sequence - 1) }
        return milliseconds > 0 ? EntryID(milliseconds - 1, .max) : self
    }

    var description: String { "\(milliseconds)-\(sequence)" }

    static func < (one: EntryID, other: EntryID) -> Bool {
        (one.milliseconds, one.sequence) < (other.milliseconds, other.sequence)
    }
}
