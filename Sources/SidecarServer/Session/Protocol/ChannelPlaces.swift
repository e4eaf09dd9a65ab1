import SidecarCore

/// Where a session of the protocol has come into its channels, and what it has been spared there since.
struct ChannelPlaces: Sendable {
    /// A position, without what only event streams need.
    private struct Point: Sendable, Equatable {
        let offset: UInt64
        let epoch: ChannelEpoch
        let id: MessageID

        init(_ position: ChannelPosition) {
            offset = position.offset
            epoch = position.epoch
            id = position.id
        }

        func position(in channel: ChannelName) -> ChannelPosition {
            ChannelPosition(offset: offset, epoch: epoch, id: id, in: channel)
        }
    }

    private struct Place: Sendable {
        /// Where it joined.
        let joined: Point
        /// The last run of messages that were not for it: the one before them, and the last of them.
        var skipped: (before: Point, last: Point)?
    }

    private var places: [ChannelName: Place] = [:]

    /// The session is in a channel, whose messages begin after a position, unless it has been in it before.
    mutating func joined(_ channel: ChannelName, ifNewAt position: ChannelPosition) {
        if places[channel] == nil { places[channel] = Place(joined: Point(position)) }
    }

    mutating func left(_ channel: ChannelName) { places[channel] = nil }

    /// A message was not for this session.
    ///
    /// - Parameter before: The message before it; nil when there was none since the session joined.
    mutating func skipped(_ channel: ChannelName, _ position: ChannelPosition, after before: ChannelPosition?) {
        guard let place = places[channel] else { return }
        let before = before.map { Point($0) } ?? place.joined
        let isContinued = place.skipped.map { $0.last == before } ?? false
        places[channel]?.skipped = (isContinued ? place.skipped?.before ?? before : before, Point(position))
    }

    /// After which position a client gets the messages of a channel that it has a position in; nil when that is from
    /// before the session joined, so that what was published before a rejoin does not reach it.
    func start(in channel: ChannelName, after claimed: ResumeRequest.Position?) -> ChannelPosition? {
        guard let place = places[channel] else { return nil }
        guard let claimed else { return place.joined.position(in: channel) }
        let position = ChannelPosition(offset: claimed.offset, epoch: claimed.epoch, id: claimed.id, in: channel)
        // Positions of an epoch that is over are refused by the broker.
        guard claimed.epoch == place.joined.epoch else { return position }
        guard claimed.offset >= place.joined.offset else { return nil }
        // Those that were not for it may be gone from the history by now, which makes no difference to it.
        if let skipped = place.skipped, skipped.before == Point(position) { return skipped.last.position(in: channel) }
        return position
    }
}
