import SidecarCore

/// The last publication of each channel of one hash tag that the engine has confirmed to this node.
///
/// Those of the channels that were published to last are kept, for ``kept``.
struct ConfirmedPublications {
    /// A publication that the engine has confirmed.
    struct Entry: Equatable {
        let channel: ChannelName
        /// Its number in the lane.
        let number: UInt64
        /// When it was stored, in milliseconds since 1970 by the engine's clock.
        let time: Int64
    }

    /// For how long a publication is kept, in milliseconds.
    static let kept: Int64 = 600_000
    /// As many channels are kept at least, and twice as many at most.
    static let channels = 1_024

    private var recent: [ChannelName: Entry] = [:]
    private var older: [ChannelName: Entry] = [:]

    /// A publication was confirmed.
    mutating func add(_ entry: Entry) {
        if let known = recent[entry.channel], known.number > entry.number { return }
        if recent[entry.channel] == nil, recent.count >= Self.channels {
            older = recent
            recent = [:]
        }
        recent[entry.channel] = entry
    }

    /// Takes all out, in their order, but for those that were stored too long ago to matter.
    ///
    /// - Parameter now: The engine's time, in milliseconds since 1970.
    mutating func takeAll(at now: Int64) -> [Entry] {
        defer {
            recent = [:]
            older = [:]
        }
        let oldest = now &- Self.kept
        return older.merging(recent) { $1 }.values.filter { $0.time > oldest }.sorted { $0.number < $1.number }
    }
}
