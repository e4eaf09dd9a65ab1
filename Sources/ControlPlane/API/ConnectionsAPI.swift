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
        v1.get("bans") { _, _ in self.listBans() }
        v1.get("bans/:kind/:value") { _, context in try self.showBan(context) }
        v1.put("bans/:kind/:value") { request, context in try await self.ban(request, context) }
        v1.delete("bans/:kind/:value") { _, context in try self.unban(context) }
    }

    // MARK: Connections

    private func list(_ request: Request) async throws -> Response {
        let query = request.uri.queryParameters
        let limit = try APIPath.limit(query["limit"])
        let address = query["ip"].map { IPAddress($0) }
        if let address, address == nil { throw APIFault.badRequest("ip must be an IP address.") }
        let channel = query["channel"].map { ChannelName($0) }
        if let channel, channel == nil { throw APIFault.badRequest("channel must be the name of a channel.") }
        let page = await self.connections.connections(
            ConnectionFilter(
                user: query["user"].map { UserName(String($0)) },
                address: address ?? nil,
                channel: channel ?? nil
            ),
            after: try APIPath.name(query["after"], "after"),
            limit: limit
        )
        var json = ByteBuffer(string: "{\"connections\":[")
        for (index, connection) in page.connections.enumerated() {
            if index > 0 { json.writeString(",") }
            connection.writeJSON(into: &json)
        }
        // Ids need no escapes.
        json.writeString("],\"next\":\(page.next.map { "\"\($0)\"" } ?? "null")}\n")
        return APIAnswer.json(json)
    }

    private func show(_ context: ControlContext) async throws -> Response {
        guard let connection = await self.connections.connection(try APIPath.parameter("id", context)) else {
            throw APIFault.noConnection
        }
        var json = ByteBuffer()
        connection.writeJSON(into: &json)
        json.writeString("\n")
        return APIAnswer.json(json)
    }

    private func close(_ request: Request, _ context: ControlContext) async throws -> Response {
        let id = try APIPath.parameter("id", context)
        return try await self.audited("connection.close", id, context) {
            let how = try Self.closeRequest(request)
            guard await self.connections.close(id, how) else { throw APIFault.noConnection }
            return (Response(status: .noContent), "code \(how.code)")
        }
    }

    private func closeUser(_ request: Request, _ context: ControlContext) async throws -> Response {
        let user = try APIPath.parameter("user", context)
        return try await self.audited("user.close", user, context) {
            let how = try Self.closeRequest(request)
            let count = await self.connections.closeConnections(ofUser: UserName(user), how)
            return (APIAnswer.json(ByteBuffer(string: "{\"closed\":\(count)}\n")), "closed \(count) with \(how.code)")
        }
    }

    private func renew(_ request: Request, _ context: ControlContext) async throws -> Response {
        let id = try APIPath.parameter("id", context)
        return try await self.audited("connection.token", id, context) {
            let body = try await APIPath.body(of: request, context, upTo: Self.maxTokenBytes)
            let token = String(buffer: body).filter { !$0.isWhitespace }
            switch await self.connections.renewToken(token, of: id) {
            case .renewed: return (Response(status: .noContent), "")
            case .noConnection: throw APIFault.noConnection
            case .refused(let why): throw APIFault(status: .unprocessableContent, detail: why, outcome: .badRequest)
            }
        }
    }

    // MARK: Bans

    private func listBans() -> Response {
        var json = ByteBuffer(string: "{\"bans\":[")
        for (index, ban) in self.connections.bans().enumerated() {
            if index > 0 { json.writeString(",") }
            ban.writeJSON(into: &json)
        }
        json.writeString("]}\n")
        return APIAnswer.json(json)
    }

    private func showBan(_ context: ControlContext) throws -> Response {
        guard let ban = self.connections.ban(of: try Self.subject(context)) else { throw APIFault.noBan }
        return APIAnswer.json(Self.json(ban))
    }

    private func ban(_ request: Request, _ context: ControlContext) async throws -> Response {
        try await self.audited("ban.add", Self.banTarget(context), context) {
            let subject = try Self.subject(context)
            let terms = try await self.banTerms(of: request, context)
            let (ttl, reason) = (terms.ttl ?? Self.defaultBan, terms.reason ?? "")
            let (addition, ban) = await self.connections.ban(subject, for: ttl, reason: reason)
            guard addition != .full else {
                throw APIFault(
                    status: .init(code: 507, reasonPhrase: "Insufficient Storage"),
                    detail: "There are too many bans.",
                    outcome: .refused
                )
            }
            let seconds = ttl.nanoseconds / 1_000_000_000
            return (APIAnswer.json(Self.json(ban), addition == .added ? .created : .ok), "for \(seconds)s")
        }
    }

    /// What the query and the body say of a ban, which is all that they may say: a duration that is misspelt must not
    /// become an hour.
    private func banTerms(of request: Request, _ context: ControlContext) async throws -> BanTerms {
        let body = try await APIPath.body(of: request, context, upTo: Self.maxBanBytes)
        do throws(BodyFault) {
            let query = request.uri.queryParameters.map { (name: String($0.key), value: String($0.value)) }
            return try BanTerms(query: query, body: body)
        } catch {
            throw APIFault(error)
        }
    }

    private func unban(_ context: ControlContext) throws -> Response {
        let target = Self.banTarget(context)
        do {
            guard self.connections.unban(try Self.subject(context)) else { throw APIFault.noBan }
            self.note("ban.remove", target, context, .ok, "")
            return Response(status: .noContent)
        } catch let fault as APIFault {
            self.note("ban.remove", target, context, fault.outcome, fault.detail)
            throw fault
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

    // MARK: Requests and answers

    private static func closeRequest(_ request: Request) throws -> CloseRequest {
        let query = request.uri.queryParameters
        let reason = query["reason"].map(String.init) ?? "closed by the operator"
        guard let code = query["code"].map({ Int($0) }) ?? 1008, let how = CloseRequest(code: code, reason: reason),
            reason.utf8.count <= CloseRequest.maxReasonBytes
        else {
            throw APIFault.badRequest(
                "code is 1000 to 1003, 1007 to 1014 or 3000 to 4999, and reason has at most 123 bytes."
            )
        }
        return how
    }

    /// Carries out a change, and notes what came of it.
    private func audited(
        _ action: String,
        _ target: String,
        _ context: ControlContext,
        _ change: () async throws -> (Response, String)
    ) async throws -> Response {
        do {
            let (response, detail) = try await change()
            self.note(action, target, context, .ok, detail)
            return response
        } catch let fault as APIFault {
            self.note(action, target, context, fault.outcome, fault.detail)
            throw fault
        }
    }

    private func note(
        _ action: String,
        _ target: String,
        _ context: ControlContext,
        _ outcome: AuditRecord.Outcome,
        _ detail: String
    ) {
        self.audit.note(action, target, by: context.peer, outcome, detail)
    }

    private static func json(_ ban: BanInfo) -> ByteBuffer {
        var json = ByteBuffer()
        ban.writeJSON(into: &json)
        json.writeString("\n")
        return json
    }
}
