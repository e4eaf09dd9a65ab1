import HTTP1
import Logging
import NIOCore
import SidecarCore

/// What the log tells of a session.
extension BridgeSession {
    /// The client's path, without its query, which may hold anything.
    var path: String { String(prefix.subject.prefix { $0 != "?" }) }

    private var origin: Logger.Metadata {
        ["connection": "\(id)", "client": "\(clientAddress)", "path": "\(path)"]
    }

    /// An event was not taken, or will be tried again.
    func log(
        _ failure: DeliveryFailure,
        _ event: EventUnderWay,
        level: Logger.Level,
        _ message: Logger.Message = "delivery failed"
    ) {
        guard shard.logger.logLevel <= level else { return }
        var metadata = origin
        if level >= .warning {
            guard let leftOut = shard.takeLine() else { return }
            if leftOut > 0 { metadata["left_out"] = .stringConvertible(leftOut) }
        }
        metadata["event"] = "\(event.kind.rawValue)"
        metadata["event_id"] = "\(id)-\(event.delivery.sequence)"
        metadata["events"] = .stringConvertible(event.count)
        metadata["why"] = "\(failure.sentence)"
        if case .status(let status) = failure { metadata["status"] = .stringConvertible(status) }
        shard.logger.log(level: level, message, metadata: metadata)
    }

    /// The client is refused, by the app or by what it did in its first message.
    func logRefused(status: Int? = nil, why: String? = nil) {
        var metadata = origin
        if let status { metadata["status"] = .stringConvertible(status) }
        if let why { metadata["why"] = "\(why)" }
        shard.logger.info(why == nil ? "the app refused a connection" : "connection refused", metadata: metadata)
    }

    /// The one line about an open connection, at its end.
    func logEnd(
        code: UInt16,
        reason: String,
        initiator: CloseInitiator,
        cause: CloseCause,
        age: TimeAmount
    ) {
        var metadata = origin
        metadata["user"] = "\(user ?? "")"
        metadata["transport"] = "\(carrier.rawValue)"
        metadata["code"] = .stringConvertible(code)
        metadata["reason"] = "\(reason)"
        metadata["initiator"] = "\(initiator.rawValue)"
        metadata["cause"] = "\(cause.rawValue)"
        metadata["messages_in"] = .stringConvertible(machine.messagesIn)
        metadata["messages_out"] = .stringConvertible(machine.messagesOut)
        metadata["duration_ms"] = .stringConvertible(age.nanoseconds / 1_000_000)
        shard.logger.info("connection closed", metadata: metadata)
    }

    /// What an event may cause, as far as the log counts it.
    struct Effects {
        let sent: Int
        let published: Int
        let attempt: Int
    }

    /// How things stand before an answer is applied; nil when nobody wants to know.
    func effects(before event: EventUnderWay) -> Effects? {
        guard shard.logsEvents else { return nil }
        return Effects(sent: machine.messagesOut, published: publications, attempt: event.failures + 1)
    }

    /// One line for each attempt at an event, at debug. Bodies are never in it.
    func log(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome, since before: Effects?) {
        guard let before else { return }
        var metadata = origin
        metadata["event"] = "\(event.kind.rawValue)"
        metadata["event_id"] = "\(id)-\(event.delivery.sequence)"
        if event.count > 1 { metadata["events"] = .stringConvertible(event.count) }
        metadata["attempt"] = .stringConvertible(before.attempt)
        metadata["duration_ms"] = .stringConvertible(event.milliseconds)
        metadata["sent"] = .stringConvertible(machine.messagesOut - before.sent)
        metadata["published"] = .stringConvertible(publications - before.published)
        outcome.describe(in: &metadata)
        shard.logger.debug("event", metadata: metadata)
    }
}

extension WebhookCall.Outcome {
    /// The status, or why there is none.
    func describe(in metadata: inout Logger.Metadata) {
        switch self {
        case .success(let (head, _)): metadata["status"] = .stringConvertible(head.status)
        case .failure(let failure): metadata["why"] = "\(failure.sentence)"
        }
    }
}

extension WebhookCall {
    /// How long the attempt took, in milliseconds with one digit behind the point.
    var milliseconds: Double {
        (Double((NIODeadline.now() - startedAt).nanoseconds) / 100_000).rounded() / 10
    }
}
