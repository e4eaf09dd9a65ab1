internal import Hummingbird
internal import SidecarCore

/// `GET /v1/channels/CHANNEL`.
struct ChannelResponse: ResponseEncodable {
    let channel: String
    let connections: Int
    let users: [String]
    let offset: UInt64
    let epoch: String

    init(_ info: ChannelInfo) {
        channel = info.summary.channel.text
        connections = info.summary.connections
        users = info.users.map(\.text)
        offset = info.summary.position.offset
        epoch = info.summary.position.epoch.description
    }
}

/// `GET /v1/channels`.
struct ChannelListResponse: ResponseEncodable {
    struct Entry: Encodable {
        let channel: String
        let connections: Int
    }

    let channels: [Entry]
    /// The name that `after` takes for the rest.
    @Nullable var next: String?

    /// - Parameter found: One more than `limit` when there are more.
    init(_ found: [ChannelSummary], limit: Int) {
        channels = found.prefix(limit).map { Entry(channel: $0.channel.text, connections: $0.connections) }
        next = found.count > limit ? channels.last?.channel : nil
    }
}
