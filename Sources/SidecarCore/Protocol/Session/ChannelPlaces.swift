/// Where a session of the protocol has come into its channels, and what it has been spared there since.
public struct ChannelPlaces: Sendable {
    /// A position, without what only event streams need.
    fileprivate struct Point: Sendable, Equatable {
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

    /// The places of a session without channels.
    public init() {}

    /// The session is in a channel, whose messages begin after a position, unless it has been in it before.
    public mutating func joined(_ channel: ChannelName, ifNewAt position: ChannelPosition) {
        if places[channel] == nil { places[channel] = Place(joined: Point(position)) }
    }

    /// The session has left a channel.
    public mutating func left(_ channel: ChannelName) { places[channel] = nil }

    /// A message was not for this session.
    ///
    /// - Parameter before: The message before it; nil when there was none since the session joined.
    public mutating func skipped(_ channel: ChannelName, _ position: ChannelPosition, after before: ChannelPosition?) {
        guard let place = places[channel] else { return }
        let before = before.map { Point($0) } ?? place.joined
        let isContinued = place.skipped.map { $0.last == before } ?? false
        places[channel]?.skipped = (isContinued ? place.skipped?.before ?? before : before, Point(position))
    }

    /// After which position a client gets the messages of a channel that it has a position in; nil when that is from
    /// before the session joined, so that what was published before a rejoin does not reach it.
    public func start(in channel: ChannelName, after claimed: ResumeRequest.Position?) -> ChannelPosition? {
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

    // MARK: Record

    private enum Tag {
        static let place: UInt8 = 1
    }

    /// For another node.
    var record: [UInt8] {
        var writer = JournalWriter()
        for (channel, place) in places {
            let points = [place.joined, place.skipped?.before, place.skipped?.last].compactMap { $0 }
            writer.write(Tag.place, name: channel.text.utf8, value: points.flatMap(\.bytes))
        }
        return writer.record
    }

    init(record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        while let (name, value) = try reader.takePair(Tag.place) {
            let points = stride(from: value.startIndex, to: value.endIndex, by: 24).map { start in
                Point(bytes: value[start..<min(start + 24, value.endIndex)])
            }
            guard let text = String(validating: name, as: UTF8.self), let channel = ChannelName(text),
                value.count % 24 == 0, points.count == 1 || points.count == 3
            else { throw .malformed }
            places[channel] = Place(joined: points[0], skipped: points.count == 3 ? (points[1], points[2]) : nil)
        }
    }
}

extension ChannelPlaces.Point {
    /// Three numbers of eight bytes.
    fileprivate var bytes: [UInt8] { [offset, epoch.bits, id.bits].flatMap { JournalWriter.bytes(of: $0) } }

    fileprivate init(bytes: ArraySlice<UInt8>) {
        let numbers = (0..<3).map { JournalReader.number(bytes.dropFirst(8 * $0).prefix(8)) }
        offset = numbers[0]
        epoch = ChannelEpoch(numbers[1])
        id = MessageID(numbers[2])
    }
}
