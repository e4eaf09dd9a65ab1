internal import Hummingbird
internal import SidecarCore

/// The API for publishing, for channels and for who is in them.
struct ChannelsAPI: Sendable {
    let connections: any ConnectionOperator
    let audit: APIAudit
    /// The largest message that may be published, in bytes.
    let maxMessageBytes: @Sendable () -> Int
    let rate: PublishRate
    let answers = IdempotentAnswers()

    func register(in v1: RouterGroup<ControlContext>) {
        v1.post("channels/:channel/messages") { request, context in try await self.publish(request, context) }
        v1.post("users/:user/messages") { request, context in try await self.sendToUser(request, context) }
        v1.post("connections/:id/messages") { request, context in try await self.send(request, context) }
        v1.post("messages") { request, context in try await self.publishAll(request, context) }
        v1.put("channels/:channel/connections/:id") { _, context in try await self.subscribe(context) }
        v1.delete("channels/:channel/connections/:id") { _, context in try await self.unsubscribe(context) }
        v1.get("channels") { request, _ in try await self.list(request) }
        v1.get("channels/:channel") { request, context in try await self.show(request, context) }
        v1.get("channels/:channel/messages") { request, context in try await self.history(request, context) }
    }

    static func channel(_ context: ControlContext) throws -> ChannelName {
        guard let channel = ChannelName(try APIPath.parameter("channel", context)) else {
            throw APIFault.badRequest("A channel is 1 to 200 printable characters without space, comma or quote.")
        }
        return channel
    }

    /// Carries out a change, and records its result.
    func audited<Answer>(
        _ action: AuditRecord.Action,
        _ target: String,
        _ context: ControlContext,
        _ change: () async throws -> Answer
    ) async throws -> Answer {
        do {
            let answer = try await change()
            self.record(action, target, context, .ok)
            return answer
        } catch {
            if let fault = APIFault(error) { self.record(action, target, context, fault.outcome) }
            throw error
        }
    }

    func record(
        _ action: AuditRecord.Action,
        _ target: String,
        _ context: ControlContext,
        _ outcome: AuditRecord.Outcome
    ) {
        self.audit.record(action, target, by: context.peer, outcome)
    }
}
