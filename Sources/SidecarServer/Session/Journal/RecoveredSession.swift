import DeliveryOutbox
import SidecarCore

/// A session of an earlier process, read from the outbox.
struct RecoveredSession {
    let row: RecoveredConnection
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
                let (session, fault) = try read(row)
                sessions.append(session)
                if let fault { faults.append(fault) }
            } catch {
                faults.append(error)
            }
        }
        guard let first = faults.first else { return (sessions, nil) }
        let subject = faults.count == 1 ? "A record" : "\(faults.count) records"
        return (sessions, "\(subject) of the outbox cannot be read and not delivered: \(first.words).")
    }

    /// A connection without a readable close event gets one that says that it broke.
    private static func read(_ row: RecoveredConnection) throws(JournalFault) -> (RecoveredSession, JournalFault?) {
        let connection = try WebhookConnection(record: row.context, id: row.id)
        let identity = try ConnectionIdentity(record: row.identity)
        var close: CloseReport?
        var fault: JournalFault?
        if let row = row.close {
            do throws(JournalFault) { close = try CloseReport(record: row.report) } catch { fault = error }
        }
        return (RecoveredSession(row: row, connection: connection, identity: identity, close: close), fault)
    }
}
