import DeliveryOutbox
import SidecarCore

/// A session of an earlier process, read from the outbox.
struct RecoveredSession {
    /// A message that the app has not answered.
    struct Message {
        let format: MessageFormat
        let label: MessageLabel?
        let payload: [UInt8]
        let at: Int64
    }

    let row: RecoveredConnection
    let messages: [Message]
    let connection: WebhookConnection
    let identity: ConnectionIdentity
    /// How it ended; nil if the process ended before it, or if the record cannot be read.
    let close: CloseReport?

    /// Reads all rows that are valid.
    ///
    /// - Returns: A sentence about the others, if there are any. They stay in the file.
    static func read(_ rows: [RecoveredConnection]) -> (sessions: [RecoveredSession], fault: String?) {
        var sessions: [RecoveredSession] = []
        var faults: [JournalFault] = []
        sessions.reserveCapacity(rows.count)
        for row in rows {
            do throws(JournalFault) {
                sessions.append(try read(row, &faults))
            } catch {
                faults.append(error)
            }
        }
        guard let first = faults.first else { return (sessions, nil) }
        let subject = faults.count == 1 ? "A record" : "\(faults.count) records"
        return (sessions, "\(subject) of the outbox cannot be read and not delivered: \(first.words).")
    }

    /// A connection without a readable close event gets one that says that it broke.
    private static func read(
        _ row: RecoveredConnection,
        _ faults: inout [JournalFault]
    ) throws(JournalFault) -> RecoveredSession {
        let connection = try WebhookConnection(record: row.context, id: row.id)
        let identity = try ConnectionIdentity(record: row.identity)
        var close: CloseReport?
        if let row = row.close {
            do throws(JournalFault) { close = try CloseReport(record: row.report) } catch { faults.append(error) }
        }
        var messages: [Message] = []
        messages.reserveCapacity(row.messages.count)
        for message in row.messages {
            do throws(JournalFault) { messages.append(try Message(message)) } catch { faults.append(error) }
        }
        return RecoveredSession(row: row, messages: messages, connection: connection, identity: identity, close: close)
    }
}

extension RecoveredSession.Message {
    fileprivate init(_ row: RecoveredMessage) throws(JournalFault) {
        guard let format = MessageFormat(recordNumber: row.format) else { throw .malformed }
        self.format = format
        label = row.label.isEmpty ? nil : try MessageLabel(record: row.label)
        payload = row.payload
        at = row.at
    }
}
