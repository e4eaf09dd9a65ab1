import NIOCore
import SidecarCore

@testable import RedisIngest

/// Entries for machines.
enum Items {
    /// An entry with a message for a channel, which does not matter to the reader otherwise.
    static func message(_ number: UInt64, _ channel: String = "room") -> TakenEntry {
        let fields = ["channel", channel, "text", "m\(number)"].map { ByteBuffer(string: $0) }
        do throws(IngestFault) {
            let entry = try IngestEntry(fields: fields, maxMessageBytes: 100)
            return TakenEntry(id: EntryID(number, 0), content: .message(entry), age: nil)
        } catch {
            return TakenEntry(id: EntryID(number, 0), content: .bad(error), age: nil)
        }
    }

    static func bad(_ number: UInt64) -> TakenEntry {
        TakenEntry(id: EntryID(number, 0), content: .bad(.noChannel), age: nil)
    }

    static func item(_ number: UInt64, _ channel: String = "room", at now: NIODeadline) -> IngestItem? {
        guard case .message(let entry) = message(number, channel).content else { return nil }
        return IngestItem(id: EntryID(number, 0), entry: entry, age: nil, takenAt: now)
    }

    static func id(_ number: UInt64) -> EntryID { EntryID(number, 0) }
}
