/// An event of a channel for the app (`CHANNEL_EVENTS`).
public struct OccupancyEvent: Sendable, Equatable {
    /// The channel.
    public let channel: ChannelName
    /// Whether it has subscribers now.
    public let isOccupied: Bool

    /// The last part of `ce-type`: `occupied` or `vacated`.
    public var name: String { isOccupied ? "occupied" : "vacated" }
}
