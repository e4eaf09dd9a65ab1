internal import Hummingbird
internal import SidecarCore

/// `GET /v1/channels/CHANNEL`.
struct ChannelResponse: ResponseEncodable {
    let channel: String
    let connections: Int
    let users: [String]
    /// The user that `after` takes for the rest; left out on the last page.
    let next: String?
    /// Nodes that did not answer; left out when all have.
    let missing: [String]?
    let offset: UInt64
    let epoch: String

    init(_ info: ChannelInfo) {
        channel = info.summary.channel.text
        connections = info.summary.connections
        users = info.users.map(\.text)
        next = info.next?.text
        missing = info.missing.nonEmpty
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
    let missing: [String]?

    /// - Parameter found: One more than `limit` when there are more.
    init(_ found: ChannelPage, limit: Int) {
        missing = found.missing.nonEmpty
        channels = found.channels.prefix(limit).map { Entry(channel: $0.channel.text, connections: $0.connections) }
        next = found.channels.count > limit ? channels.last?.channel : nil
    }
}
