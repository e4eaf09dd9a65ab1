internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import SidecarCore

/// The API for connections, users and bans: reads requests, and writes what came of them.
struct ConnectionsAPI: Sendable {
    let connections: any ConnectionOperator
    let audit: APIAudit

    private static let defaultBan = TimeAmount.hours(1)
    private static let maxTokenBytes = 16 << 10
    private static let maxBanBytes = 4 << 10

    func register(in v1: RouterGroup<ControlContext>) {
        v1.get("connections") { request, _ in try await self.list(request) }
        v1.get("connections/:id") { _, context in try await self.show(context) }
        v1.delete("connections/:id") { request, context in try await self.close(request, context) }
        v1.post("connections/:id/token") { request, context in try await self.renew(request, context) }
        v1.delete("users/:user/connections") { request, context in try await self.closeUser(request, context) }
        v1.get("nodes") { _, _ in NodesResponse(try await self.connections.nodes()) }
        v1.get("bans") { _, _ in BanListResponse(try await self.connections.bans()) }
        v1.get("bans/:kind/:value") { _, context in try await self.showBan(context) }
        v1.put("bans/:kind/:value") { request, context in try await self.ban(request, context) }
        v1.delete("bans/:kind/:value") { _, context in try await self.unban(context) }
    }

    // MARK: Connections

    private func list(_ request: Request) async throws -> ConnectionListResponse {
        let query = request.uri.queryParameters
        let limit = try APIPath.limit(query["limit"])
        let address = query["ip"].map { IPAddress($0) }
        if let address, address == nil { throw APIFault.badRequest("ip must be an IP address.") }
        let channel = query["channel"].map { ChannelName($0) }
        if let channel, channel == nil { throw APIFault.badRequest("channel must be the name of a channel.") }
        let page = try await self.connections.connections(
            ConnectionFilter(
                user: query["user"].map { UserName(String($0)) },
                address: address ?? nil,
                channel: channel ?? nil
            ),
            after: try APIPath.name(query["after"], "after"),
            limit: limit
        )
        return ConnectionListResponse(page)
    }

    private func show(_ context: ControlContext) async throws -> ConnectionResponse {
        ConnectionResponse(try await self.connections.connection(try APIPath.parameter("id", context)))
    }

    private func close(_ request: Request, _ context: ControlContext) async throws -> HTTPResponse.Status {
        let id = try APIPath.parameter("id", context)
        return try await self.audited(.closeConnection, id, context) {
            let how = try Self.closeRequest(request)
            try await self.connections.close(id, how)
            return (.noContent, "code \(how.code)")
        }
    }

    private func closeUser(_ request: Request, _ context: ControlContext) async throws -> ClosedResponse {
        let user = try APIPath.parameter("user", context)
        return try await self.audited(.closeUser, user, context) {
            let how = try Self.closeRequest(request)
            let count = try await self.connections.closeConnections(ofUser: UserName(user), how)
            return (ClosedResponse(closed: count), "closed \(count) with \(how.code)")
        }
    }

    private func renew(_ request: Request, _ context: ControlContext) async throws -> HTTPResponse.Status {
        let id = try APIPath.parameter("id", context)
        return try await self.audited(.renewToken, id, context) {
            let body = try await APIPath.body(of: request, context, upTo: Self.maxTokenBytes)
            try await self.connections.renewToken(String(buffer: body).filter { !$0.isWhitespace }, of: id)
            return (.noContent, "")
        }
    }

    // MARK: Bans

    private func showBan(_ context: ControlContext) async throws -> BanResponse {
        BanResponse(try await self.connections.ban(of: try Self.subject(context)))
    }

    private func ban(_ request: Request, _ context: ControlContext) async throws -> EditedResponse<BanResponse> {
        try await self.audited(.addBan, Self.banTarget(context), context) {
            let subject = try Self.subject(context)
            let terms = try await self.banTerms(of: request, context)
            let ttl = terms.ttl ?? Self.defaultBan
            let receipt = try await self.connections.ban(subject, for: ttl, reason: terms.reason ?? "")
            let answer = EditedResponse(status: receipt.isNew ? .created : .ok, response: BanResponse(receipt.ban))
            return (answer, "for \(ttl.nanoseconds / 1_000_000_000)s")
        }
    }

    /// What the query and the body say of a ban, which is all that they may say: a duration that is misspelt must not
    /// become an hour.
    private func banTerms(of request: Request, _ context: ControlContext) async throws -> BanTerms {
        let body = try await APIPath.body(of: request, context, upTo: Self.maxBanBytes)
        let query = request.uri.queryParameters.map { (name: String($0.key), value: String($0.value)) }
        return try BanTerms(query: query, body: body)
    }

    private func unban(_ context: ControlContext) async throws -> HTTPResponse.Status {
        try await self.audited(.removeBan, Self.banTarget(context), context) {
            try await self.connections.unban(try Self.subject(context))
            return (.noContent, "")
        }
    }

    private static func banTarget(_ context: ControlContext) -> String {
        let parts = ["kind", "value"].map { context.parameters.get($0).flatMap { OperatorSyntax.text($0) } ?? "?" }
        return parts.joined(separator: " ")
    }

    private static func subject(_ context: ControlContext) throws -> BanSubject {
        let kind = try APIPath.parameter("kind", context)
        guard kind == "ip" || kind == "user" else {
            throw APIFault(status: .notFound, detail: "A ban must be of ip or user.")
        }
        guard let subject = OperatorSyntax.subject(kind: kind, value: try APIPath.parameter("value", context)) else {
            throw APIFault.badRequest("A ban must name an IP address or network, or a user of up to 256 bytes.")
        }
        return subject
    }

    // MARK: Requests

    private static func closeRequest(_ request: Request) throws -> CloseRequest {
        let query = request.uri.queryParameters
        let reason = query["reason"].map(String.init) ?? "closed by the operator"
        let standard = Int(SessionCloseCode.policyViolation.rawValue)
        guard let code = query["code"].map({ Int($0) }) ?? standard, let how = CloseRequest(code: code, reason: reason),
            reason.utf8.count <= CloseRequest.maxReasonBytes
        else {
            throw APIFault.badRequest(
                "code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, and reason has at most 123 bytes."
            )
        }
        return how
    }

    /// Carries out a change, and records its result.
    private func audited<Answer>(
        _ action: AuditRecord.Action,
        _ target: String,
        _ context: ControlContext,
        _ change: () async throws -> (Answer, detail: String)
    ) async throws -> Answer {
        do {
            let (answer, detail) = try await change()
            self.audit.record(action, target, by: context.peer, .ok, detail)
            return answer
        } catch {
            if let fault = APIFault(error) {
                self.audit.record(action, target, by: context.peer, fault.outcome, fault.detail)
            }
            throw error
        }
    }
}
