import NIOCore
import RedisClient

/// What ``IngestScripts/read`` answers.
enum ReadReply: Equatable {
    /// Another node has the lease.
    case refused
    /// Entries in their order.
    case taken([TakenEntry], IngestReader.Remainder, lastDelivered: EntryID?)

    /// An id whose time is so far from the server's is not taken for a time.
    private static let longestAge: Int64 = 366 * 86_400_000

    /// Reads an answer; nil for any other shape.
    init?(_ value: RESPValue, maxMessageBytes: Int) {
        if value.integer == 0 {
            self = .refused
            return
        }
        guard let items = value.items, items.count == 4, let time = items[0].integer, let more = items[1].integer,
            let remainder = IngestReader.Remainder(rawValue: more), let list = items[3].items
        else { return nil }
        var entries: [TakenEntry] = []
        entries.reserveCapacity(list.count)
        for item in list {
            guard let entry = Self.entry(item, time, maxMessageBytes) else { return nil }
            entries.append(entry)
        }
        self = .taken(entries, remainder, lastDelivered: items[2].text.flatMap { EntryID($0) })
    }

    private static func entry(_ value: RESPValue, _ time: Int64, _ maxMessageBytes: Int) -> TakenEntry? {
        guard let parts = value.items, parts.count == 2, let id = parts[0].text.flatMap({ EntryID($0) }) else {
            return nil
        }
        let content: TakenEntry.Content
        if parts[1].isNull {
            content = .removed
        } else if case .integer(let size) = parts[1] {
            content = .bad(.entryTooLarge(bytes: Int(clamping: size)))
        } else if let fields = parts[1].items?.compactMap(\.bytes) {
            do throws(IngestFault) {
                content = .message(try IngestEntry(fields: fields, maxMessageBytes: maxMessageBytes))
            } catch {
                content = .bad(error)
            }
        } else {
            return nil
        }
        return TakenEntry(id: id, content: content, age: age(of: id, at: time))
    }

    private static func age(of id: EntryID, at time: Int64) -> TimeAmount? {
        guard let began = Int64(exactly: id.milliseconds) else { return nil }
        let (age, overflows) = time.subtractingReportingOverflow(began)
        guard !overflows, (-longestAge...longestAge).contains(age) else { return nil }
        // The server's clock may have been set back since.
        return .milliseconds(max(0, age))
    }
}
