internal import Hummingbird
internal import NIOCore
internal import SidecarCore

/// Messages to channels, to users and to connections.
extension ChannelsAPI {
    private static let maxPublications = 1000

    func publish(_ request: Request, _ context: ControlContext) async throws -> EncodedResponse {
        let channel = try Self.channel(context)
        let options = try PublishOptions(request)
        let (format, payload) = try await self.message(of: request, context)
        return try await self.once(options.key, "channel \(channel)") {
            try self.rate.take()
            let publication = Publication(channel: channel, format: format, payload: payload, event: options.event)
            return try await self.publish(
                publication,
                excluding: options.excluded,
                waits: options.waits,
                key: options.key
            )
        }
    }

    func sendToUser(_ request: Request, _ context: ControlContext) async throws -> EncodedResponse {
        let user = UserName(try APIPath.parameter("user", context))
        return try await self.sendDirectly(request, context, .messageUser, user.text) { message, key in
            try await self.connections.send(message, toUser: user, idempotencyKey: key)
        }
    }

    func send(_ request: Request, _ context: ControlContext) async throws -> EncodedResponse {
        let id = try APIPath.parameter("id", context)
        return try await self.sendDirectly(request, context, .messageConnection, id) { message, key in
            try await self.connections.send(message, to: id, idempotencyKey: key)
        }
    }

    func publishAll(_ request: Request, _ context: ControlContext) async throws -> EncodedResponse {
        let options = try PublishOptions(request)
        guard options.event == nil else { throw APIFault.badRequest("In a list, each entry names its event.") }
        // Escapes make base64 and text longer, but never six times as long.
        let body = try await APIPath.body(of: request, context, upTo: 6 * self.maxMessageBytes() + (1 << 20))
        guard let entries = OperatorSyntax.publications(body, limit: Self.maxPublications) else {
            throw APIFault.badRequest("The body must be a JSON list of 1 to \(Self.maxPublications) publications.")
        }
        return try await self.once(options.key, "list", isFinal: { !$0.contains(where: \.mayBeRepeated) }) {
            // All of them together wait as long as one, or a list for slow clients would take hours.
            let patience = ContinuousClock.now + .seconds(10)
            var answers: [BatchEntryResponse] = []
            answers.reserveCapacity(entries.count)
            var number = 0
            while number < entries.count {
                let waits = options.waits && .now < patience
                // Another node that gets the list again publishes none of its entries again.
                let keys = { (number: Int) in options.key.map { "list \(number) \($0)" } }
                let publications = self.publications(at: number, of: entries, waits: waits, keys)
                if publications.isEmpty {
                    answers.append(await self.answer(to: entries[number], waits: waits, key: keys(number), context))
                    number += 1
                } else {
                    for (one, result) in zip(publications, await self.connections.publish(publications)) {
                        answers.append(Self.answer(to: one, result))
                    }
                    number += publications.count
                }
            }
            return answers
        }
    }

    /// Carries out a publication, once for all requests with the same `Idempotency-Key` to the same target.
    ///
    /// - Parameter isFinal: Whether an answer is kept for repeats; they may do better than one that is not.
    private func once<Answer: Encodable & Sendable>(
        _ key: String?,
        _ target: String,
        isFinal: @escaping @Sendable (Answer) -> Bool = { _ in true },
        _ publish: @escaping @Sendable () async throws -> Answer
    ) async throws -> EncodedResponse {
        guard let key else { return EncodedResponse(json: try JSONResponseEncoder.json(await publish())) }
        do {
            let json = try await self.answers.answer(to: "\(target.utf8.count) \(target) \(key)") {
                let answer = try await publish()
                let json = try JSONResponseEncoder.json(answer)
                guard isFinal(answer) else { throw PartialFailure(json: json) }
                return json
            }
            return EncodedResponse(json: json)
        } catch let failure as PartialFailure {
            return EncodedResponse(json: failure.json)
        }
    }

    /// The answer to a list of which some entries have failed for now: it is not kept for repeats.
    private struct PartialFailure: Error {
        let json: ByteBuffer
    }

    private func publish(
        _ publication: Publication,
        excluding id: String?,
        waits: Bool,
        key: String? = nil
    ) async throws -> PublicationResponse {
        let receipt = try await self.connections.publish(
            publication,
            excluding: id,
            waitsForKernel: waits,
            idempotencyKey: key
        )
        return PublicationResponse(receipt, of: publication.channel)
    }

    /// Sends to a connection or to those of a user; recorded like an operator's change.
    private func sendDirectly(
        _ request: Request,
        _ context: ControlContext,
        _ action: AuditRecord.Action,
        _ target: String,
        _ send: @escaping @Sendable (DirectMessage, _ key: String?) async throws -> DeliveryCounts
    ) async throws -> EncodedResponse {
        do {
            let options = try PublishOptions(request)
            let (format, payload) = try await self.message(of: request, context)
            let message = DirectMessage(format, payload, event: options.event, waitsForKernel: options.waits)
            return try await self.once(options.key, "\(action.rawValue) \(target)") {
                try self.rate.take()
                let counts = try await send(message, options.key)
                self.record(action, target, context, .ok)
                return DeliveryResponse(counts)
            }
        } catch {
            // Also for a repeat of a call in flight, since the repeat is a call of its own.
            if let fault = APIFault(error) { self.record(action, target, context, fault.outcome) }
            throw error
        }
    }

    private func message(of request: Request, _ context: ControlContext) async throws -> (MessageFormat, ByteBuffer) {
        let body = try await APIPath.body(of: request, context, upTo: self.maxMessageBytes())
        guard request.values(of: "content-encoding").allSatisfy({ $0.lowercased() == "identity" }) else {
            throw APIFault.badRequest("The body has a content coding.")
        }
        return try OperatorSyntax.message(contentType: request.headers[.contentType], body: body)
    }

    /// The valid entries from one on that are for channels, as far as they follow each other: a broker that is asked over
    /// the network gets them at once.
    private func publications(
        at start: Int,
        of entries: [BatchEntry],
        waits: Bool,
        _ key: (Int) -> String?
    ) -> [ListedPublication] {
        var found: [ListedPublication] = []
        for number in start..<entries.count {
            guard case .success(let entry) = entries[number], case .channel(let channel) = entry.target,
                entry.payload.readableBytes <= self.maxMessageBytes(), (try? self.rate.take()) != nil
            else { break }
            let publication = Publication(
                channel: channel,
                format: entry.format,
                payload: entry.payload,
                event: entry.event
            )
            found.append(
                ListedPublication(
                    publication,
                    excluding: entry.excluded,
                    waitsForKernel: waits,
                    idempotencyKey: key(number)
                )
            )
        }
        return found
    }

    private static func answer(
        to one: ListedPublication,
        _ result: Result<PublicationReceipt, OperatorFailure>
    ) -> BatchEntryResponse {
        switch result {
        case .success(let receipt): return .published(PublicationResponse(receipt, of: one.publication.channel))
        case .failure(let failure):
            let fault = APIFault(failure)
            return .failed(.init(status: fault.status.code, detail: fault.detail))
        }
    }

    /// What came of an entry: one that fails does not concern the others.
    private func answer(
        to entry: BatchEntry,
        waits: Bool,
        key: String?,
        _ context: ControlContext
    ) async -> BatchEntryResponse {
        do {
            return try await self.carryOut(try entry.get(), waits: waits, key: key, context)
        } catch {
            let fault = APIFault(error)
            return .failed(
                .init(
                    status: fault?.status.code ?? 500,
                    detail: fault?.detail ?? "It failed because of an internal error."
                )
            )
        }
    }

    private func carryOut(
        _ entry: BatchPublication,
        waits: Bool,
        key: String?,
        _ context: ControlContext
    ) async throws -> BatchEntryResponse {
        guard entry.payload.readableBytes <= self.maxMessageBytes() else { throw APIFault.tooLarge }
        try self.rate.take()
        let (format, payload, event) = (entry.format, entry.payload, entry.event)
        let message = DirectMessage(format, payload, event: event, waitsForKernel: waits)
        switch entry.target {
        case .channel(let channel):
            let publication = Publication(channel: channel, format: format, payload: payload, event: event)
            return .published(
                try await self.publish(publication, excluding: entry.excluded, waits: waits, key: key)
            )
        case .user(let user):
            let counts = try await self.audited(.messageUser, user.text, context) {
                try await self.connections.send(message, toUser: user, idempotencyKey: key)
            }
            return .delivered(DeliveryResponse(counts))
        case .connection(let id):
            let counts = try await self.audited(.messageConnection, id, context) {
                try await self.connections.send(message, to: id, idempotencyKey: key)
            }
            return .delivered(DeliveryResponse(counts))
        }
    }
}
