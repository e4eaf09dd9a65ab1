internal import Hummingbird
internal import SidecarCore

/// What there is in channels.
extension ChannelsAPI {
    func list(_ request: Request) async throws -> ChannelListResponse {
        let query = request.uri.queryParameters
        let limit = try APIPath.limit(query["limit"])
        let (prefix, after) = (try APIPath.name(query["prefix"], "prefix"), try APIPath.name(query["after"], "after"))
        // One more than asked for tells whether there are more.
        let found = try await self.connections.channels(prefix: prefix ?? "", after: after, limit: limit + 1)
        return ChannelListResponse(found, limit: limit)
    }

    func show(_ request: Request, _ context: ControlContext) async throws -> ChannelResponse {
        let query = request.uri.queryParameters
        let after = query["after"].map { UserName(String($0)) }
        guard after?.text.utf8.count ?? 0 <= UserName.maxBytes else {
            throw APIFault.badRequest("after is the name of a user.")
        }
        let limit = try query["limit"].map { try APIPath.limit($0) } ?? Self.usersPerPage
        return ChannelResponse(
            try await self.connections.channel(try Self.channel(context), usersAfter: after, limit: limit)
        )
    }

    /// The users of a channel that one answer has at most.
    private static var usersPerPage: Int { 1000 }

    func history(_ request: Request, _ context: ControlContext) async throws -> HistoryResponse {
        let channel = try Self.channel(context)
        let query = request.uri.queryParameters
        let (part, limit) = try Self.part(query["last"], after: query["after"], limit: query["limit"])
        let history = try await self.connections.history(
            of: channel,
            part,
            epoch: query["epoch"].map(String.init),
            limit: limit
        )
        return HistoryResponse(history, of: channel)
    }

    /// The newest, or those behind an offset.
    private static func part(
        _ last: Substring?,
        after: Substring?,
        limit: Substring?
    ) throws -> (HistoryPart, limit: Int) {
        if let last {
            guard after == nil, limit == nil else {
                throw APIFault.badRequest("last cannot be combined with after or limit.")
            }
            return (.newest, try APIPath.limit(last, as: "last"))
        }
        let offset = after.map { UInt64($0) }
        if let offset, offset == nil { throw APIFault.badRequest("after must be an offset.") }
        return (.after(offset ?? nil), try APIPath.limit(limit))
    }
}
