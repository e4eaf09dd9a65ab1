import DeliveryOutbox
import NIOCore
import SidecarCore

/// A session of an earlier process: its client has gone, but events are still owed to the app.
extension BridgeSession {
    /// The event before the first one that is still owed.
    static func lastDone(_ recovered: RecoveredConnection) -> UInt64 {
        guard let first = recovered.messages.first?.sequence ?? recovered.close?.sequence else {
            return recovered.lastAnswered
        }
        return first > 0 ? first - 1 : 0
    }

    /// Delivers what an earlier process owed: the messages, then the end.
    func resume(_ recovered: RecoveredSession) {
        context.registry.insert(self)
        for message in recovered.messages {
            let payload = ByteBuffer(bytes: message.payload)
            perform(machine.received(message.format, payload, label: message.label, at: message.at))
        }
        if let report = recovered.close {
            perform(machine.ended(with: report))
        } else {
            perform(machine.ended(code: .abnormal, reason: "", initiator: .server, at: .now()))
        }
        accountBytes()
    }
}
