internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import SidecarCore

/// The API for publishing, for channels and for who is in them.
struct ChannelsAPI: Sendable {
    let connections: any ConnectionOperator
    let audit: APIAudit
    /// The largest message that may be published, in bytes.
    let maxMessageBytes: @Sendable () -> Int
    let rate: PublishRate
    private let answers = IdempotentAnswers()

    private static let maxPublications = 1000

    func register(in v1: RouterGroup<ControlContext>) {
        v1.post("channels/:channel/messages") { request, context in try await self.publish(request, context) }
        v1.post("users/:user/messages") { request, context in try await self.sendToUser(request, context) }
        v1.post("connections/:id/messages") { request, context in try await self.send(request, context) }
        v1.post("messages") { request, context in try await self.publishAll(request, context) }
        v1.put("channels/:channel/connections/:id") { _, context in try await self.subscribe(context) }
        v1.delete("channels/:channel/connections/:id") { _, context in try await self.unsubscribe(context) }
        v1.get("channels") { request, _ in try await self.list(request) }
        v1.get("channels/:channel") { _, context in try await self.show(context) }
        v1.get("channels/:channel/messages") { request, context in try await self.history(request, context) }
    }

    // MARK: Publishing

    private func publish(_ request: Request, _ context: ControlContext) async throws -> Response {
        let channel = try Self.channel(context)
        let options = try PublishOptions(request)
        let (format, payload) = try await self.message(of: request, context)
        return try await self.once(options.key, "channel \(channel)") {
            try self.rate.take()
            let publication = Publication(channel: channel, format: format, payload: payload, event: options.event)
            let answer = try await self.publish(publication, excluding: options.excluded, waits: options.waits)
            return ByteBuffer(string: answer + "\n")
        }
    }

    /// Carries out a publication, once for all requests with the same `Idempotency-Key` to the same target.
    private func once(
        _ key: String?,
        _ target: String,
        _ publish: @escaping @Sendable () async throws -> ByteBuffer
    ) async throws -> Response {
        guard let key else { return APIAnswer.json(try await publish()) }
        return APIAnswer.json(try await self.answers.answer(to: "\(target.utf8.count) \(target) \(key)", publish))
    }

    private func publish(_ publication: Publication, excluding id: String?, waits: Bool) async throws -> String {
        do throws(ChannelFailure) {
            let receipt = try await self.connections.publish(publication, excluding: id, waitsForKernel: waits)
            // A channel's name and an epoch need at most a backslash escaped.
            return """
                {"channel":"\(Self.escaped(publication.channel))","offset":\(receipt.position.offset),\
                "epoch":"\(receipt.position.epoch)",\(receipt.counts.json)}
                """
        } catch {
            throw APIFault(error)
        }
    }

    private func sendToUser(_ request: Request, _ context: ControlContext) async throws -> Response {
        let user = UserName(try APIPath.parameter("user", context))
        return try await self.sendDirectly(request, context, "user.message", user.text) { message in
            await self.connections.send(message, toUser: user)
        }
    }

    private func send(_ request: Request, _ context: ControlContext) async throws -> Response {
        let id = try APIPath.parameter("id", context)
        return try await self.sendDirectly(request, context, "connection.message", id) { message in
            guard let counts = await self.connections.send(message, to: id) else { throw APIFault.noConnection }
            return counts
        }
    }

    /// Past all channels, which is noted like what an operator does.
    private func sendDirectly(
        _ request: Request,
        _ context: ControlContext,
        _ action: String,
        _ target: String,
        _ send: @escaping @Sendable (DirectMessage) async throws -> DeliveryCounts
    ) async throws -> Response {
        do {
            let options = try PublishOptions(request)
            let (format, payload) = try await self.message(of: request, context)
            let message = DirectMessage(format, payload, event: options.event, waitsForKernel: options.waits)
            return try await self.once(options.key, "\(action) \(target)") {
                try self.rate.take()
                let counts = try await send(message)
                self.note(action, target, context, .ok)
                return ByteBuffer(string: "{\(counts.json)}\n")
            }
        } catch let fault as APIFault {
            self.note(action, target, context, fault.outcome)
            throw fault
        }
    }

    private func message(of request: Request, _ context: ControlContext) async throws -> (MessageFormat, ByteBuffer) {
        let body = try await APIPath.body(of: request, context, upTo: self.maxMessageBytes())
        guard request.values(of: "content-encoding").allSatisfy({ $0.lowercased() == "identity" }) else {
            throw APIFault.badRequest("The body has a content coding.")
        }
        do throws(BodyFault) {
            return try OperatorSyntax.message(contentType: request.headers[.contentType], body: body)
        } catch {
            throw APIFault(error)
        }
    }

    private func publishAll(_ request: Request, _ context: ControlContext) async throws -> Response {
        let options = try PublishOptions(request)
        guard options.event == nil else { throw APIFault.badRequest("In a list, each entry names its event.") }
        // Escapes make base64 and text longer, but never six times as long.
        let body = try await APIPath.body(of: request, context, upTo: 6 * self.maxMessageBytes() + (1 << 20))
        guard let entries = OperatorSyntax.publications(body, limit: Self.maxPublications) else {
            throw APIFault.badRequest("The body must be a JSON list of 1 to \(Self.maxPublications) publications.")
        }
        return try await self.once(options.key, "list") {
            // All of them together wait as long as one, or a list for slow clients would take hours.
            let patience = ContinuousClock.now + .seconds(10)
            var json = ByteBuffer(string: "[")
            for (index, entry) in entries.enumerated() {
                if index > 0 { json.writeString(",") }
                json.writeString(await self.answer(to: entry, waits: options.waits && .now < patience, context))
            }
            json.writeString("]\n")
            return json
        }
    }

    private func answer(to entry: BatchEntry, waits: Bool, _ context: ControlContext) async -> String {
        do {
            guard case .success(let entry) = entry else {
                guard case .failure(let fault) = entry else { return "{}" }
                throw APIFault.badRequest(fault.sentence)
            }
            guard entry.payload.readableBytes <= self.maxMessageBytes() else { throw APIFault.tooLarge }
            try self.rate.take()
            let (format, payload, event) = (entry.format, entry.payload, entry.event)
            let message = DirectMessage(format, payload, event: event, waitsForKernel: waits)
            switch entry.target {
            case .channel(let channel):
                let publication = Publication(channel: channel, format: format, payload: payload, event: event)
                return try await self.publish(publication, excluding: entry.excluded, waits: waits)
            case .user(let user):
                let counts = await self.connections.send(message, toUser: user)
                self.note("user.message", user.text, context, .ok)
                return "{\(counts.json)}"
            case .connection(let id):
                let counts = await self.connections.send(message, to: id)
                self.note("connection.message", id, context, counts == nil ? .notFound : .ok)
                guard let counts else { throw APIFault.noConnection }
                return "{\(counts.json)}"
            }
        } catch let fault as APIFault {
            return "{\"status\":\(fault.status.code),\"detail\":\"\(fault.detail)\"}"
        } catch {
            return "{\"status\":500,\"detail\":\"It failed because of an internal error.\"}"
        }
    }

    // MARK: Membership

    private func subscribe(_ context: ControlContext) async throws -> Response {
        let channel = try Self.channel(context)
        let id = try APIPath.parameter("id", context)
        let answer = await self.connections.subscribe(id, to: channel)
        self.note("channel.subscribe", "\(id) \(channel)", context, answer == .subscribed ? .ok : .notFound)
        switch answer {
        case .subscribed: return Response(status: .noContent)
        case .noConnection: throw APIFault.noConnection
        case .tooMany:
            throw APIFault(
                status: .conflict,
                detail: "The connection is in as many channels as allowed.",
                outcome: .refused
            )
        }
    }

    private func unsubscribe(_ context: ControlContext) async throws -> Response {
        let channel = try Self.channel(context)
        let id = try APIPath.parameter("id", context)
        let isThere = await self.connections.unsubscribe(id, from: channel)
        self.note("channel.unsubscribe", "\(id) \(channel)", context, isThere ? .ok : .notFound)
        guard isThere else { throw APIFault.noConnection }
        return Response(status: .noContent)
    }

    private func note(_ action: String, _ target: String, _ context: ControlContext, _ outcome: AuditRecord.Outcome) {
        self.audit.note(action, target, by: context.peer, outcome)
    }

    // MARK: Reading

    private func list(_ request: Request) async throws -> Response {
        let query = request.uri.queryParameters
        let limit = try APIPath.limit(query["limit"])
        let (prefix, after) = (try APIPath.name(query["prefix"], "prefix"), try APIPath.name(query["after"], "after"))
        do throws(ChannelFailure) {
            let found = try await self.connections.channels(
                prefix: prefix ?? "",
                after: after,
                limit: limit + 1
            )
            let page = found.prefix(limit)
            let entries = page.map { "{\"channel\":\"\(Self.escaped($0.channel))\",\"connections\":\($0.connections)}" }
            let last = found.count > limit ? page.last.map { "\"\(Self.escaped($0.channel))\"" } : nil
            return APIAnswer.json(
                ByteBuffer(string: "{\"channels\":[\(entries.joined(separator: ","))],\"next\":\(last ?? "null")}\n")
            )
        } catch {
            throw APIFault(error)
        }
    }

    private func show(_ context: ControlContext) async throws -> Response {
        let channel = try Self.channel(context)
        do throws(ChannelFailure) {
            let (summary, users) = try await self.connections.channel(channel)
            return APIAnswer.json(OperatorSyntax.json(summary, users: users))
        } catch {
            throw APIFault(error)
        }
    }

    private func history(_ request: Request, _ context: ControlContext) async throws -> Response {
        let channel = try Self.channel(context)
        let query = request.uri.queryParameters
        let (part, limit) = try Self.part(query["last"], after: query["after"], limit: query["limit"])
        do throws(ChannelFailure) {
            let history = try await self.connections.history(
                of: channel,
                part,
                epoch: query["epoch"].map(String.init),
                limit: limit
            )
            return APIAnswer.json(OperatorSyntax.json(history, of: channel))
        } catch {
            throw APIFault(error)
        }
    }

    /// The newest, or those behind a place.
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
        let place = after.map { UInt64($0) }
        if let place, place == nil { throw APIFault.badRequest("after must be an offset.") }
        return (.after(place ?? nil), try APIPath.limit(limit))
    }

    private static func channel(_ context: ControlContext) throws -> ChannelName {
        guard let channel = ChannelName(try APIPath.parameter("channel", context)) else {
            throw APIFault.badRequest("A channel is 1 to 200 printable characters without space, comma or quote.")
        }
        return channel
    }

    private static func escaped(_ channel: ChannelName) -> String {
        channel.text.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
    }
}

extension APIFault {
    /// What an broker cannot do, as an answer.
    init(_ failure: ChannelFailure) {
        switch failure {
        case .unknownChannel: self.init(status: .notFound, detail: "There is no such channel, or it has no history.")
        case .gone: self.init(status: .gone, detail: "These messages are no longer kept.")
        case .unavailable: self.init(status: .serviceUnavailable, detail: "Channels cannot be reached.")
        }
    }
}

/// What the head of a request to publish says.
private struct PublishOptions: Sendable {
    private static let maxKeyBytes = 256

    /// The value of `Idempotency-Key`.
    let key: String?
    /// The value of `Sidesocket-Exclude`.
    let excluded: String?
    /// The value of `Sidesocket-Event`.
    let event: String?
    /// Whether the answer waits for the kernel (`?wait=written`).
    let waits: Bool

    init(_ request: Request) throws {
        let wait = request.uri.queryParameters["wait"]
        guard wait == nil || wait == "written" else { throw APIFault.badRequest("wait can only be written.") }
        waits = wait != nil
        excluded = request.values(of: "sidesocket-exclude").first
        event = request.values(of: "sidesocket-event").first
        if let event, !OperatorSyntax.isEventType(event) {
            throw APIFault.badRequest("Sidesocket-Event must be 1 to 128 printable characters.")
        }
        let keys = request.values(of: "idempotency-key")
        key = keys.first
        guard keys.count <= 1, (1...Self.maxKeyBytes).contains(key?.utf8.count ?? 1) else {
            throw APIFault.badRequest("An Idempotency-Key must be 1 to 256 bytes.")
        }
    }
}

extension Request {
    /// The values of a field; its name in lower case.
    fileprivate func values(of name: String) -> [String] {
        self.headers.filter { $0.name.canonicalName == name }.map(\.value)
    }
}
