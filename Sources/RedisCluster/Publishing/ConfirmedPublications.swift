import NIOCore
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
        /// When it was confirmed.
        let at: NIODeadline
    }

    /// For how long a publication is kept.
    static let kept = TimeAmount.minutes(10)
    /// As many channels are kept at least, and twice as many at most.
    static let channels = 1_024

    private var recent: [ChannelName: Entry] = [:]
    private var older: [ChannelName: Entry] = [:]
    /// The highest number; nil when there is none.
    private(set) var last: UInt64?

    /// A publication was confirmed.
    mutating func add(_ entry: Entry) {
        last = max(last ?? 0, entry.number)
        if let known = recent[entry.channel], known.number > entry.number { return }
        if recent[entry.channel] == nil, recent.count >= Self.channels {
            older = recent
            recent = [:]
        }
        recent[entry.channel] = entry
    }

    /// Takes out what was confirmed too long ago to matter.
    mutating func expire(_ now: NIODeadline) {
        let oldest = now - Self.kept
        recent = recent.filter { $0.value.at > oldest }
        older = older.filter { $0.value.at > oldest }
        if recent.isEmpty, older.isEmpty { last = nil }
    }

    /// Takes out what is numbered above one number and up to another one.
    mutating func take(above lower: UInt64, upTo upper: UInt64) -> [Entry] {
        let taken = older.merging(recent) { $1 }.values.filter { $0.number > lower && $0.number <= upper }
        for entry in taken {
            recent[entry.channel] = nil
            older[entry.channel] = nil
        }
        return taken.sorted { $0.number < $1.number }
    }
}
