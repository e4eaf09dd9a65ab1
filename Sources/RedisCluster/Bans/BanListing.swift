import NIOCore
import RedisClient

/// What the engine answers to ``BanScripts/load``.
struct BanListing {
    /// The number of changes.
    let version: Int64
    /// The engine's time, in milliseconds since 1970.
    let time: Int64
    /// Subjects and bans as they stand there. What is no text is none of ours and left out.
    let bans: [(field: String, value: ByteBuffer)]

    /// Nil when it cannot be read.
    init?(_ value: RESPValue) {
        guard let items = value.items, items.count == 4, let version = items[0].integer, let time = items[1].integer,
            let list = items[3].items, list.count.isMultiple(of: 2), (0..<BanScripts.mostChanges).contains(version),
            (0..<BanScripts.latest).contains(time)
        else { return nil }
        self.version = version
        self.time = time
        bans = stride(from: 0, to: list.count - 1, by: 2).compactMap { index in
            guard let field = list[index].bytes.flatMap({ BanChange.text($0) }), let value = list[index + 1].bytes
            else {
                return nil
            }
            return (field, value)
        }
    }
}
