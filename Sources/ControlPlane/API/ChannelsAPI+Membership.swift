internal import HTTPTypes
internal import Hummingbird
internal import SidecarCore

/// Who is in a channel.
extension ChannelsAPI {
    func subscribe(_ context: ControlContext) async throws -> HTTPResponse.Status {
        let channel = try Self.channel(context)
        let id = try APIPath.parameter("id", context)
        try await self.audited(.subscribe, "\(id) \(channel)", context) {
            try await self.connections.subscribe(id, to: channel)
        }
        return .noContent
    }

    func unsubscribe(_ context: ControlContext) async throws -> HTTPResponse.Status {
        let channel = try Self.channel(context)
        let id = try APIPath.parameter("id", context)
        try await self.audited(.unsubscribe, "\(id) \(channel)", context) {
            try await self.connections.unsubscribe(id, from: channel)
        }
        return .noContent
    }
}
