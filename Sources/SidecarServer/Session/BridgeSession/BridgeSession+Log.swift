import HTTP1
import Logging
import NIOCore
import SidecarCore

/// Log lines of a session.
extension BridgeSession {
    /// The client's path without its query, which may hold secrets.
    var path: String { String(prepared.subject.prefix { $0 != "?" }) }

    var logFields: Logger.Metadata {
        ["connection": "\(id)", "client": "\(clientAddress)", "path": "\(path)"]
    }

    /// The event in flight was not accepted.
    func log(
        _ failure: DeliveryFailure,
        of event: Delivery? = nil,
        level: Logger.Level,
        _ message: Logger.Message = "delivery failed"
    ) {
        guard context.log.logger.logLevel <= level, let event = event ?? delivery?.event else { return }
        var metadata = logFields
        if level >= .warning {
            guard let leftOut = context.log.takeLine() else { return }
            if leftOut > 0 { metadata["left_out"] = .stringConvertible(leftOut) }
        }
        metadata["event"] = "\(event.event.kind.rawValue)"
        metadata["event_id"] = "\(prepared.eventID(event.sequence))"
        metadata["events"] = .stringConvertible(event.sequences.count)
        metadata["why"] = "\(failure.sentence)"
        if case .status(let status) = failure { metadata["status"] = .stringConvertible(status) }
        context.log.logger.log(level: level, message, metadata: metadata)
    }

    /// The client was refused, by the app or because of its first message.
    func logRefused(status: Int? = nil, why: String? = nil) {
        var metadata = logFields
        if let status { metadata["status"] = .stringConvertible(status) }
        if let why { metadata["why"] = "\(why)" }
        context.log.logger.info(why == nil ? "the app refused a connection" : "connection refused", metadata: metadata)
    }

    /// The single line about an open connection, at its end.
    func logEnd(
        code: SessionCloseCode,
        reason: String,
        initiator: CloseInitiator,
        cause: CloseCause,
        age: TimeAmount
    ) {
        var metadata = logFields
        metadata["user"] = "\(user ?? "")"
        metadata["transport"] = "\(transportKind.rawValue)"
        metadata["code"] = .stringConvertible(code.rawValue)
        metadata["reason"] = "\(reason)"
        metadata["initiator"] = "\(initiator.rawValue)"
        metadata["cause"] = "\(cause.rawValue)"
        metadata["messages_in"] = .stringConvertible(machine.messagesIn)
        metadata["messages_out"] = .stringConvertible(machine.messagesOut)
        metadata["duration_ms"] = .stringConvertible(age.nanoseconds / 1_000_000)
        context.log.logger.info("connection closed", metadata: metadata)
    }
}
